// vxlan and host-gw as an administrator would set them up with iproute2 and iptables, without any daemon: what flanneld's must be no slower than. The firewall
// rules are flannel's, since they cost a part of each packet's way; docs/firewall.md has them in words.

export interface HandNode {
  readonly n: number;
  readonly address: string;
  /** "10.5.1.0/24" */
  readonly subnet: string;
}

/** As flanneld does with "VNI": 1 and "Port": 0. */
const DEVICE = "flannel.1";
const VXLAN_PORT = 8472;
export const ETHERNET_MTU = 1_500;
/** Outer Ethernet, IPv4, UDP and VXLAN headers: 14 + 20 + 8 + 8. */
export const VXLAN_MTU = ETHERNET_MTU - 50;

/** A MAC that says whose it is. */
const macOf = ({ n }: HandNode) => `06:00:00:00:00:0${n}`;
const firstOf = ({ subnet }: HandNode) => subnet.replace(/\/\d+$/, "");

export function vxlanByHand(own: HandNode, peer: HandNode): string {
  return `
    ip link add ${DEVICE} address ${macOf(own)} mtu ${VXLAN_MTU} type vxlan id 1 local ${own.address} dev eth0 dstport ${VXLAN_PORT} nolearning
    ip link set ${DEVICE} up
    ip address add ${firstOf(own)}/32 dev ${DEVICE}
    ip neighbour add ${firstOf(peer)} lladdr ${macOf(peer)} dev ${DEVICE} nud permanent
    bridge fdb add ${macOf(peer)} dev ${DEVICE} dst ${peer.address}
    ip route add ${peer.subnet} via ${firstOf(peer)} dev ${DEVICE} onlink`;
}

export function hostGwByHand(_own: HandNode, peer: HandNode): string {
  return `ip route add ${peer.subnet} via ${peer.address} dev eth0`;
}

/** For iptables-restore --noflush. */
export function rulesByHand(network: string, { subnet }: HandNode): string {
  return `*nat
:POD-MASQUERADE - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j POD-MASQUERADE
-A POD-MASQUERADE -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A POD-MASQUERADE -s ${network} -d ${network} -m comment --comment "flanneld masq" -j RETURN
-A POD-MASQUERADE ! -s ${network} -d ${subnet} -m comment --comment "flanneld masq" -j RETURN
-A POD-MASQUERADE -s ${network} ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A POD-MASQUERADE ! -s ${network} -d ${network} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
*filter
:POD-FORWARD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j POD-FORWARD
-A POD-FORWARD -s ${network} -m comment --comment "flanneld forward" -j ACCEPT
-A POD-FORWARD -d ${network} -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`;
}
