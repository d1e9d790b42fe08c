// The header before each packet of a TUN device with IFF_VNET_HDR: what of the packet is left undone, so that 64 KiB of TCP pass in one read or write
// (linux/virtio_net.h, struct virtio_net_hdr; host byte order as TUNSETVNETLE is not used: little endian on the machines there are executables for).
//
//   0 u8 flags   1 u8 gso_type   2 u16 hdr_len   4 u16 gso_size (payload of each segment)
//   6 u16 csum_start (from the packet's start)   8 u16 csum_offset (from csum_start)

export const VNET_HEADER_BYTES = 10;
export const VNET_FLAGS = 0;
export const VNET_GSO_TYPE = 1;
export const VNET_HEADER_LENGTH = 2;
export const VNET_GSO_SIZE = 4;
export const VNET_CHECKSUM_START = 6;
export const VNET_CHECKSUM_OFFSET = 8;

/** The checksum field holds the sum of the pseudo header; the rest, from csum_start on, is to be added. */
export const VNET_NEEDS_CHECKSUM = 1;

export const VNET_GSO_NONE = 0;
export const VNET_GSO_TCPV4 = 1;
export const VNET_GSO_UDP_L4 = 5;
/** A bit beside the type: CWR is set, for the first segment alone. */
export const VNET_GSO_ECN = 0x80;
