/** The order of SYMLINK's fields, by what the other side is. */
import { assert, assertEquals } from "@std/assert";
import type { AuthInfo } from "../../lib/auth/types.ts";
import { openSftp } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { clientSendsLinkFirst, saidLinkFirst, serverTakesLinkFirst } from "../../lib/sftp/wire/symlink_order.ts";
import { memoryFiles } from "../_support/refusing_server.ts";
import { idOf, pipes, RawPeer, someone, statusIn, statusReply } from "../_support/sftp_peers.ts";

const OURS = "SSH-2.0-amiko", OPENSSH = "SSH-2.0-OpenSSH_9.9";
const ORDER = "symlink-order@rjk.greenend.org.uk";

/** Each with whether it keeps to the draft as a server and as a client of ours: under our own name, and under OpenSSH's. */
const peers: readonly (readonly [string, { server: readonly boolean[]; client: readonly boolean[] }])[] = [
  ["SSH-2.0-OpenSSH_9.2p1 Debian-2", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-AsyncSSH_2.20.0", { server: [true, false], client: [true, false] }],
  ["SSH-2.0-ssh2js1.17.0", { server: [true, false], client: [true, false] }],
  ["SSH-2.0-ssh2js1.17.0srv", { server: [true, false], client: [true, false] }],
  ["SSH-2.0-libssh_0.10.6", { server: [true, true], client: [true, false] }],
  ["SSH-2.0-Erlang/5.2.1", { server: [true, true], client: [false, false] }],
  ["SSH-2.0-Twisted_22.10.0", { server: [true, true], client: [false, false] }],
  ["SSH-2.0-phpseclib_3.0 (libsodium, openssl, gmp)", { server: [false, false], client: [true, false] }],
  ["SSH-2.0-phpseclib_2.0", { server: [false, false], client: [true, false] }],
  ["SSH-2.0-WinSCP_release_6.3.5", { server: [false, false], client: [true, false] }],
  ["SSH-2.0-libssh2_1.10.0", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-paramiko_3.5.1", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-Go", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-SSHJ_0.38.0", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-JSCH_0.2.20", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-mod_sftp/0.9.9", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-dropbear_2022.83", { server: [false, false], client: [false, false] }],
  ["SSH-2.0-amiko", { server: [false, false], client: [false, false] }],
];

// S19
Deno.test("whether a peer puts the link first is told by its identification, and by ours where it chooses by that", () => {
  for (const [peer, { server, client }] of peers) {
    assertEquals([OURS, OPENSSH].map((own) => serverTakesLinkFirst({ peer, own })), [...server], peer);
    assertEquals([OURS, OPENSSH].map((own) => clientSendsLinkFirst({ peer, own })), [...client], peer);
  }
  for (const own of [OURS, undefined]) {
    assertEquals([serverTakesLinkFirst, clientSendsLinkFirst].map((is) => is({ peer: undefined, own })), [
      false,
      false,
    ]);
  }
});

/** What our client sends to a server that names these extensions. */
async function sent(extensions: [string, string][], options: { linkFirst?: boolean }): Promise<string[]> {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const asked = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3, extensions));
    const payload = (await peer.next())!;
    await peer.send(statusReply(idOf(payload), Status.OK));
    const { target, path } = m.Symlink.decode(payload);
    return [target, path];
  })();
  const sftp = await openSftp(near, options);
  await sftp.symlink("the-target", "/the-link");
  const fields = await asked;
  await Promise.all([sftp.close(), peer.end()]);
  return fields;
}

// S19
Deno.test("symlink() follows what a server says of the order, whatever it is by its name", async () => {
  const draft = ["/the-link", "the-target"], reversed = ["the-target", "/the-link"];
  for (const linkFirst of [true, false]) {
    assertEquals(await sent([[ORDER, "linkpath-targetpath"]], { linkFirst }), draft);
    assertEquals(await sent([[ORDER, "targetpath-linkpath"]], { linkFirst }), reversed);
    assertEquals(await sent([[ORDER, "what else"]], { linkFirst }), linkFirst ? draft : reversed);
    assertEquals(
      await sent([["symlink-order@example.org", "linkpath-targetpath"]], { linkFirst }),
      linkFirst ? draft : reversed,
    );
  }
  assertEquals(await sent([], {}), reversed);
  assertEquals(saidLinkFirst(new Map([[ORDER, ""]])), null);
});

// S19
Deno.test("serveSftp() makes the link that each client means, and says which order it takes", async () => {
  for (const own of [OURS, OPENSSH]) {
    for (const [ident, { client }] of peers) {
      const { backend, nodes } = memoryFiles(), { near, far } = pipes();
      const who = { ...someone, connection: { remoteIdent: ident, localIdent: own } } as unknown as AuthInfo;
      const served = serveSftp(far, backend, who), peer = new RawPeer(near);
      const { extensions } = m.decodeVersion((await peer.ask(m.encodeVersion(Fxp.INIT, 3)))!);
      const linkFirst = client[own === OURS ? 0 : 1]!;
      assertEquals(extensions.get(ORDER), linkFirst ? "linkpath-targetpath" : "targetpath-linkpath", ident);
      const fields = linkFirst ? { target: "/link", path: "its-target" } : { target: "its-target", path: "/link" };
      assertEquals(statusIn(await peer.ask(m.Symlink.encode({ id: 1, ...fields }))), Status.OK);
      await peer.end();
      await served;
      const link = nodes.get("/link");
      assert(link?.kind === "link", ident);
      assertEquals(link.target, "its-target", ident);
    }
  }
});
