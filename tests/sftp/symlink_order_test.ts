import { assertEquals } from "@std/assert";
import { putsLinkFirst } from "../../lib/sftp/symlink_order.ts";

Deno.test("putsLinkFirst() tells those that keep to the draft by their identification", () => {
  for (const ident of ["SSH-2.0-AsyncSSH_2.20.0", "SSH-2.0-ssh2js1.17.0srv", "SSH-2.0-libssh_0.10.6"]) {
    assertEquals(putsLinkFirst(ident), true, ident);
  }
  const others = ["SSH-2.0-OpenSSH_9.2p1", "SSH-2.0-libssh2_1.10.0", "SSH-2.0-paramiko_3.5.1", "SSH-2.0-Go", undefined];
  for (const ident of others) assertEquals(putsLinkFirst(ident), false, ident);
});
