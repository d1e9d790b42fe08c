// What both generations of etcd's API need to know: where the cluster answers, who we are, and how patient we are.

export interface EtcdOptions {
  /** URLs as given: http or https, host name, IPv4 or [IPv6] address, port (2379 without one). Tried in order, the next when one fails. */
  readonly endpoints: readonly string[];
  /**
   * A domain whose SRV records name the cluster's members in place of `endpoints`: _etcd-client-ssl._tcp (https) first, then
   * _etcd-client._tcp (http), as etcd's own clients do. "" for none.
   */
  readonly discoverySrv: string;
  /** Start of all keys, "/coreos.com/network": `<prefix>/config`, `<prefix>/subnets/<lease key>`. */
  readonly prefix: string;
  readonly tls: EtcdTls;
  /** "" for no authentication. */
  readonly username: string;
  readonly password: string;
  readonly timing: EtcdTiming;
}

/** Paths of PEM files, "" for none. A CA alone works; a certificate needs its key. */
export interface EtcdTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface EtcdTiming {
  /** For a TCP connection to one endpoint, in milliseconds. */
  readonly connectMs: number;
  /** For a single request to be answered. */
  readonly requestMs: number;
  /** Between two signs of life asked of a connection that is silent. etcd takes less than 5,000 for an attack (grpc-keepalive-min-time). */
  readonly pingMs: number;
  /** For the answer to such a ping. With `pingMs` less than 10 seconds in all. */
  readonly pongMs: number;
}

export const ETCD_TIMING: EtcdTiming = { connectMs: 1_000, requestMs: 5_000, pingMs: 5_000, pongMs: 3_500 };
