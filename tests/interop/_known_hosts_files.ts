/**
 * Test support. Files of known_hosts of every kind, as people have them and as nobody should: for `ssh-keygen` and for the library.
 *
 * `{a}`, `{b}`, `{c}` and `{r}` stand for keys, two of them Ed25519, one ECDSA and one RSA; `{h NAME}` for a hashed name.
 *
 * @module
 */
import { hashedName } from "../../lib/keys/trust/host_patterns.ts";
import { opensshKeys } from "../_support/key_vectors.ts";

/** A file, and the host that is looked for in it. */
export interface KnownHostsFile {
  readonly bytes: Uint8Array;
  readonly hostname: string;
  readonly port: number;
}

/** The keys by the letter that stands for them. */
export const keyLines: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({ a: 6, b: 7, c: 1, r: 4 }).map(([letter, i]) => [
    letter,
    opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" "),
  ]),
);

type Row = readonly [text: string, hostname?: string, port?: number];

const rows: readonly Row[] = [
  // Plain names.
  ["host {a}\n"],
  ["other {a}\n"],
  ["host {a}\nother {b}\nhost {c}\nlast {r}\n"],
  ["host {a}\nhost {a}\nhost {a}\n"],
  ["host {a} user@machine, a comment # of words\n"],
  ["Host {a}\nHOST.example {b}\n", "hOST"],
  ["HOST.Example {b}\n", "host.example"],
  ["host. {a}\nhost {b}\n"],
  ["host. {a}\nhost {b}\n", "host."],
  ["hos {a}\nhostt {a}\nxhost {b}\n"],
  ["192.0.2.7 {a}\n192.0.2.70 {b}\n", "192.0.2.7"],
  // Several names on a line.
  ["host,other {a}\nother {b}\n"],
  ["other,host,192.0.2.1 {a}\n"],
  ["a,b,c,d,e,f,host,g {a}\nx {b}\n"],
  [",host {a}\n"],
  ["host, {a}\n"],
  ["other,,host {a}\n", "other"],
  // Ports.
  ["[host]:2222 {a}\nhost {b}\n"],
  ["[host]:2222 {a}\nhost {b}\n", "host", 2222],
  ["[host]:22 {a}\n"],
  ["[HOST]:2222,[192.0.2.1]:2222 {a}\n", "host", 2222],
  ["[host]:2222 {a}\n[host]:22222 {b}\n", "host", 2222],
  ["[host]:65535 {a}\n", "host", 65535],
  // IPv6.
  ["::1 {a}\n[::1]:2222 {b}\n", "::1"],
  ["::1 {a}\n[::1]:2222 {b}\n", "::1", 2222],
  ["2001:DB8::1 {a}\n", "2001:db8::1"],
  ["[2001:db8::1]:22 {a}\n2001:db8::1 {b}\n", "2001:db8::1"],
  ["fe80::1%eth0 {a}\nfe80::1 {b}\n", "fe80::1%eth0"],
  ["*:*:1 {a}\n", "::1"],
  // Patterns and negations.
  ["* {a}\n"],
  ["h?st {a}\nho* {b}\n*st {c}\n"],
  ["*.example {a}\nwww.example {b}\n", "www.example"],
  ["*.example,!www.example {a}\nwww.example {b}\n", "www.example"],
  ["!www.example,*.example {a}\n", "www.example"],
  ["!host {a}\n"],
  ["!other,host {a}\n"],
  ["*,!h* {a}\nhost {b}\n"],
  ["[*]:2222 {a}\n[h?st]:2* {b}\n", "host", 2222],
  ["* {a}\n", "host", 2222],
  ["**?** {a}\n??? {b}\n"],
  [`host,${"x".repeat(1100)} {a}\nhost {b}\n`],
  [`${"y,".repeat(600)}host {a}\n`],
  // Hashed names.
  ["{h host} {a}\n"],
  ["{h host} {a}\n{h other} {b}\n{h host} {c}\n"],
  ["{h [host]:2222} {a}\n{h host} {b}\n", "host", 2222],
  ["{h other} {a}\nhost {b}\n{h host} {c} comment\n"],
  ["{h ::1} {a}\n", "::1"],
  ["|1|AAAA|AAAA {a}\nhost {b}\n"],
  ["|2|AAAA|AAAA {a}\n| {b}\nhost {c}\n"],
  ["{h host},other {a}\nhost {b}\n"],
  // Markers.
  ["@cert-authority * {a}\nhost {b}\n"],
  ["@cert-authority *.example,host {a} the CA\n@revoked host {b}\nhost {c}\n"],
  ["@revoked * {a}\n"],
  ["@revoked {h host} {a}\n{h host} {b}\n"],
  ["@revoked @revoked host {a}\n@nothing host {b}\n@ host {c}\nhost {r}\n"],
  ["@REVOKED host {a}\n@cert-authority\nhost {b}\n"],
  // Comments, empty lines, blanks.
  ["# host {a}\n#host {b}\n\n   \n\t\nhost {c}\n# the end\n"],
  ["  host {a}\n\thost {b}\n \t # host {c}\n"],
  ["host\t{a}\nhost   {b}   two  blanks\t\n"],
  ["\n\n\n"],
  [""],
  ["# nothing but this"],
  // No end of the last line.
  ["host {a}"],
  ["other {a}\nhost {b}"],
  ["host {a}\nother {b}"],
  ["host {a}\n# a comment without an end"],
  // CRLF.
  ["host {a}\r\nother {b}\r\n"],
  ["other {a} comment\r\nhost {b}\r\nhost {c}\n"],
  ["{h host} {a}\r\n{h other} {b}\r\n"],
  ["\r\nhost {a}\r\n"],
  // Lines that are none.
  ["host\nother {a}\nhost {b}\n"],
  ["host ssh-ed25519\nhost ssh-ed25519 \nhost {a}\n"],
  ["host ssh-ed25519 # {a}\nhost {b}\n"],
  ["host ssh-ed25519 AAAA\nhost ssh-rsa ////\nhost {a}\n"],
  ["host 1024 65537 1234567890 old\nhost {a}\n"],
  ["host nonsense AAAA\nnonsense\nhost {a}\n"],
  ["host\u00a0{a}\nhost {b}\n"],
  // Bytes that are no text.
  ["h\u00f6st {a} f\u00fcr \u4e16\u754c\nhost {b}\n"],
  ["# \u0001\u0002\u001b[2J\nhost {a} \u007f\n"],
  [`# ${"x".repeat(70_000)}\nhost {a} ${"y".repeat(70_000)}\nother {b}\n`],
];

/** The files. */
export function knownHostsFiles(): KnownHostsFile[] {
  let salt = 0;
  const filled = rows.map(([text, hostname = "host", port = 22]) => ({
    bytes: new TextEncoder().encode(
      text.replaceAll(/\{([abcr])\}/g, (_, letter) => keyLines[letter]!)
        .replaceAll(/\{h ([^}]*)\}/g, (_, name) => hashedName(name, new Uint8Array(20).fill(++salt))),
    ),
    hostname,
    port,
  }));
  // A comment in Latin-1, which is no UTF-8.
  const latin = `other ${keyLines.b} Stra\u00dfe \u00e9\u00ff\nhost ${keyLines.a} caf\u00e9\n`;
  return [...filled, {
    bytes: Uint8Array.from(latin, (character) => character.charCodeAt(0)),
    hostname: "host",
    port: 22,
  }];
}
