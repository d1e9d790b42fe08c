// What is measured, and what each measurement yields. Names are those that --measure takes.

export const MEASUREMENTS = ["tcp1", "tcp4", "udp1400", "udp64", "mix", "rr1", "rr16"] as const;
export type MeasurementName = (typeof MEASUREMENTS)[number];

export type FigureName = "rate" | "lost" | "cpu" | "daemon";

export interface Figure {
  readonly name: FigureName;
  readonly unit: string;
  /** What a row is called besides its path; the rate has none. */
  readonly title: string;
}

const CPU: readonly Figure[] = [
  { name: "cpu", unit: "s/GB", title: "CPU of the machine" },
  { name: "daemon", unit: "s/GB", title: "CPU of both daemons" },
];
const LOST: readonly Figure[] = [{ name: "lost", unit: "%", title: "lost" }];

export interface TcpLoad {
  readonly kind: "tcp";
  readonly streams: number;
}

/** One way, as fast as the sender can; sizes are payload, at random between the two. */
export interface UdpLoad {
  readonly kind: "udp";
  readonly flows: number;
  readonly bytes: number;
  readonly most: number;
}

export interface RoundTripLoad {
  readonly kind: "round trips";
  readonly parallel: number;
}

export interface Measurement {
  readonly title: string;
  readonly load: TcpLoad | UdpLoad | RoundTripLoad;
  readonly figures: readonly Figure[];
}

const rate = (unit: string): Figure => ({ name: "rate", unit, title: "" });
const tcp = (streams: number, title: string): Measurement => ({
  title,
  load: { kind: "tcp", streams },
  figures: [rate("Gbit/s"), ...CPU],
});
const udp = (flows: number, bytes: number, most: number, title: string): Measurement => ({
  title,
  load: { kind: "udp", flows, bytes, most },
  figures: [rate("kpps"), ...LOST],
});
const roundTrips = (parallel: number, title: string): Measurement => ({
  title,
  load: { kind: "round trips", parallel },
  figures: [rate("k/s")],
});

/** 1,400 bytes fit every path's MTU. */
const LARGE = 1_400;

export const MEASUREMENT: Readonly<Record<MeasurementName, Measurement>> = {
  tcp1: tcp(1, "TCP, 1 stream"),
  tcp4: tcp(4, "TCP, 4 streams"),
  udp1400: udp(1, LARGE, LARGE, "UDP, 1 flow of 1,400 B, received"),
  udp64: udp(1, 64, 64, "UDP, 1 flow of 64 B, received"),
  mix: udp(16, 64, LARGE, "UDP, 16 flows of 64 to 1,400 B mixed, received"),
  rr1: roundTrips(1, "UDP round trips, 1 at a time"),
  rr16: roundTrips(16, "UDP round trips, 16 at a time"),
};

/** One value for each of the measurement's figures. */
export type Values = Readonly<Partial<Record<FigureName, number>>>;
