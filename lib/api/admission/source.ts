/**
 * What counts as one source of connections. No I/O.
 *
 * @module
 */

/**
 * An IPv4 address, in whichever form it comes, or the /64 network that one IPv6 host has to itself. Another kind of address is one by
 * itself.
 */
export function sourceOf(address: string): string {
  if (!address.includes(":")) return address;
  const groups = groupsOf(address.split("%")[0]!);
  // ::ffff:0:0/96 is IPv4 as a socket for both shows it (RFC 4291 section 2.5.5.2).
  if (groups.slice(0, 5).every((group) => group === "0") && groups[5] === "ffff") {
    const [high, low] = [parseInt(groups[6]!, 16), parseInt(groups[7]!, 16)];
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  return groups.slice(0, 4).join(":") + "::/64";
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  const hex = address.replace(
    /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_, a, b, c, d) => `${(a * 256 + +b).toString(16)}:${(c * 256 + +d).toString(16)}`,
  );
  const [head, tail] = hex.split("::") as [string, string?];
  const front = head === "" ? [] : head.split(":"), back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  return [...front, ...new Array<string>(zeros).fill("0"), ...back]
    .map((group) => group.replace(/^0+(?=.)/, "").toLowerCase());
}
