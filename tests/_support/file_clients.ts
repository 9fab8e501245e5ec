/**
 * Test support. Programs that copy files by SFTP or SCP, each run once on a server: the folder `tree` goes up as `/tree`, is listed, and comes back.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Driver, run, runText } from "./child.ts";
import { puttyKey, scratchDir, type TestKey } from "./keys.ts";
import { newerPython, npmFolder, openSsh10, type PeerId, scripts } from "./peers.ts";

/** What a program is asked to do. */
export interface FileJob {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** User name. */
  readonly username: string;
  /** Key to log in with. */
  readonly clientKey: TestKey;
  /** The server's keys. */
  readonly keys: readonly TestKey[];
  /** A local folder whose name is `tree`. */
  readonly tree: string;
  /** An empty local folder to which `tree` comes back. */
  readonly back: string;
}

/** A program that copies files. */
export interface FileClient {
  /** Which peer it is of. */
  readonly id: PeerId;
  /** What is run, as in "`scp -O`". */
  readonly title: string;
  /** The hardest names that it takes: `raw` are not UTF-8, `lineFeed` have a line feed, `plain` have neither. */
  readonly names: "raw" | "lineFeed" | "plain";
  /** Whether links are copied as links. */
  readonly links: boolean;
  /** Copies there and back; gives a listing of `/tree` that has the names in it, or null where it has none. */
  copy(job: FileJob): Promise<string | null>;
}

/** Runs a command that must succeed, in an environment of its own. */
async function must(
  command: readonly string[],
  options: { stdin?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const { stdout, stderr, code } = await run(command, {
    ...options.stdin === undefined ? {} : { stdin: new TextEncoder().encode(options.stdin) },
    ...options.env === undefined ? {} : { env: options.env },
    deadline: 30_000,
  });
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, `${command.join(" ")}\n${text}${stderr}`);
  return text;
}

function knownHosts({ keys, port }: FileJob): string {
  const home = scratchDir();
  Deno.mkdirSync(`${home}/.ssh`);
  Deno.writeTextFileSync(
    `${home}/.ssh/known_hosts`,
    keys.map((key) => `[127.0.0.1]:${port} ${key.line}\n`).join(""),
  );
  return home;
}

/** Options of `ssh` and of what runs it, but for the port. */
export function opensshOptions(job: FileJob): string[] {
  return [
    "-F",
    "/dev/null",
    ...[
      `UserKnownHostsFile=${knownHosts(job)}/.ssh/known_hosts`,
      "GlobalKnownHostsFile=/dev/null",
      "StrictHostKeyChecking=yes",
      "UpdateHostKeys=no",
      "IdentityAgent=none",
      "IdentitiesOnly=yes",
      "BatchMode=yes",
      "LogLevel=ERROR",
      `IdentityFile=${job.clientKey.file}`,
    ].flatMap((line) => ["-o", line]),
  ];
}

function sftpOf(id: "openssh" | "openssh10"): FileClient {
  const bin = id === "openssh10" ? `${openSsh10()}/bin` : "/usr/bin";
  return {
    id,
    title: "sftp",
    names: "raw",
    links: false,
    copy: (job) =>
      must([
        `${bin}/sftp`,
        ...["-S", `${bin}/ssh`, "-P", String(job.port)],
        ...opensshOptions(job),
        ...["-q", "-b", "-", `${job.username}@127.0.0.1`],
      ], { stdin: `put -r ${job.tree} /\nls -la /tree\nget -r /tree ${job.back}\n` }),
  };
}

function scpOf(id: "openssh" | "openssh10", legacy: boolean): FileClient {
  const bin = id === "openssh10" ? `${openSsh10()}/bin` : "/usr/bin";
  return {
    id,
    title: legacy ? "scp -O" : "scp",
    // SCP itself ends a name at a line feed; scp then spells it otherwise.
    names: legacy ? "plain" : "raw",
    links: false,
    copy: async (job) => {
      const scp = [
        `${bin}/scp`,
        ...["-S", `${bin}/ssh`, "-P", String(job.port), "-q", "-r", "-p"],
        ...legacy ? ["-O"] : ["-s"],
        ...opensshOptions(job),
      ];
      await must([...scp, job.tree, `${job.username}@127.0.0.1:/`]);
      await must([...scp, `${job.username}@127.0.0.1:/tree`, job.back]);
      return null;
    },
  };
}

async function puttyOptions(job: FileJob): Promise<{ args: string[]; env: Record<string, string> }> {
  const home = scratchDir();
  return {
    args: [
      ...["-batch", "-noagent", "-P", String(job.port), "-i", await puttyKey(job.clientKey)],
      ...job.keys.flatMap((key) => ["-hostkey", key.fingerprint]),
    ],
    // Without a locale it takes names for ASCII.
    env: { HOME: home, PUTTYDIR: home, LC_ALL: "C.UTF-8" },
  };
}

const psftp: FileClient = {
  id: "putty",
  title: "psftp",
  names: "raw",
  links: false,
  copy: async (job) => {
    const { args, env } = await puttyOptions(job);
    const script = `${scratchDir()}/script`;
    await Deno.writeTextFile(script, `put -r ${job.tree} /tree\nls /tree\nget -r /tree ${job.back}/tree\n`);
    return await must(["/usr/bin/psftp", ...args, "-l", job.username, "-b", script, "127.0.0.1"], { env });
  },
};

function pscp(protocol: "-sftp" | "-scp"): FileClient {
  return {
    id: "putty",
    title: `pscp ${protocol}`,
    names: protocol === "-scp" ? "plain" : "raw",
    links: false,
    copy: async (job) => {
      const { args, env } = await puttyOptions(job);
      const command = ["/usr/bin/pscp", ...args, protocol, "-r", "-p", "-q"];
      await must([...command, job.tree, `${job.username}@127.0.0.1:/`], { env });
      await must([...command, `${job.username}@127.0.0.1:/tree`, job.back], { env });
      return await must(["/usr/bin/pscp", ...args, "-sftp", "-ls", `${job.username}@127.0.0.1:/tree`], { env });
    },
  };
}

const lftp: FileClient = {
  id: "lftp",
  title: "lftp",
  names: "plain",
  links: true,
  copy: (job) => {
    const home = scratchDir();
    const program = ["ssh", "-a", "-x", ...opensshOptions(job)].join(" ");
    return must([
      "/usr/bin/lftp",
      "--norc",
      "-c",
      `set cmd:fail-exit yes; set net:max-retries 1; set sftp:charset utf-8; set sftp:connect-program "${program}"
open -u ${job.username}, sftp://127.0.0.1:${job.port}
mirror --parallel=4 -R ${job.tree} /tree
cls -1 -a /tree
mirror --parallel=4 /tree ${job.back}/tree`,
    ], { env: { HOME: home, LFTP_HOME: home, LC_ALL: "C.UTF-8" } });
  },
};

const curl: FileClient = {
  id: "curl",
  title: "curl sftp://",
  names: "plain",
  links: false,
  copy: async (job) => {
    const env = { HOME: knownHosts(job) };
    const args = ["-s", "-S", "--user", `${job.username}:`, "--key", job.clientKey.file];
    const command = ["/usr/bin/curl", ...args, "--pubkey", `${job.clientKey.file}.pub`];
    const url = `sftp://127.0.0.1:${job.port}`;
    // One connection for all files of a direction.
    const up: string[] = [], down: string[] = [];
    for await (const path of filesIn(job.tree)) {
      const there = `${url}/tree${path.split("/").map(encodeURIComponent).join("/")}`;
      up.push("--ftp-create-dirs", "-g", "-T", `${job.tree}${path}`, there, "--next", ...args);
      down.push("--create-dirs", "-g", "-o", `${job.back}/tree${path}`, there, "--next", ...args);
    }
    const directories = (await runText(["find", job.tree, "-mindepth", "1", "-type", "d"])).trim().split("\n");
    for (const path of directories) {
      await Deno.mkdir(`${job.back}/tree${path.slice(job.tree.length)}`, { recursive: true });
    }
    const made = ["/tree", ...directories.map((path) => `/tree${path.slice(job.tree.length)}`)];
    await must([...command, "-o", "/dev/null", ...made.flatMap((path) => ["-Q", `*mkdir ${path}`]), `${url}/`], {
      env,
    });
    await must([...command, ...up.slice(0, -args.length - 1)], { env });
    await must([...command, ...down.slice(0, -args.length - 1)], { env });
    return await must([...command, `${url}/tree/`], { env });
  },
};

async function* filesIn(dir: string, below = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(`${dir}${below}`)) {
    if (isDirectory) yield* filesIn(dir, `${below}/${name}`);
    else yield `${below}/${name}`;
  }
}

const rclone: FileClient = {
  id: "rclone",
  title: "rclone",
  // It spells line feeds otherwise.
  names: "plain",
  links: false,
  copy: async (job) => {
    const home = knownHosts(job);
    const env = {
      HOME: home,
      RCLONE_CONFIG: "/dev/null",
      RCLONE_CONFIG_PEER_TYPE: "sftp",
      RCLONE_CONFIG_PEER_HOST: "127.0.0.1",
      RCLONE_CONFIG_PEER_PORT: String(job.port),
      RCLONE_CONFIG_PEER_USER: job.username,
      RCLONE_CONFIG_PEER_KEY_FILE: job.clientKey.file,
      RCLONE_CONFIG_PEER_KNOWN_HOSTS_FILE: `${home}/.ssh/known_hosts`,
      RCLONE_CONFIG_PEER_DISABLE_HASHCHECK: "true",
      RCLONE_CONFIG_PEER_SHELL_TYPE: "none",
    };
    const copy = ["/usr/bin/rclone", "copy", "--create-empty-src-dirs", "--retries", "1"];
    await must([...copy, job.tree, "peer:/tree"], { env });
    await must([...copy, "peer:/tree", `${job.back}/tree`], { env });
    return await must(["/usr/bin/rclone", "lsf", "peer:/tree"], { env });
  },
};

/** SSHFS. */
export const sshfs: FileClient = {
  id: "sshfs",
  title: "sshfs",
  names: "raw",
  links: true,
  copy: async (job) => {
    const mount = `${scratchDir()}/mount`;
    await Deno.mkdir(mount);
    await must([
      "/usr/bin/sshfs",
      ...["-p", String(job.port), "-o", "ssh_command=/usr/bin/ssh"],
      ...opensshOptions(job),
      `${job.username}@127.0.0.1:/`,
      mount,
    ]);
    try {
      await must(["cp", "-r", job.tree, mount]);
      await must(["cp", "-r", `${mount}/tree`, job.back]);
      return await must(["ls", "-a", "--show-control-chars", `${mount}/tree`]);
    } finally {
      await must(["/usr/bin/fusermount3", "-u", mount]);
    }
  },
};

function scripted(
  id: "paramiko" | "asyncssh" | "ssh2",
  command: readonly string[],
  names: FileClient["names"],
  title = "sftp",
  env?: Record<string, string>,
): FileClient {
  return {
    id,
    title: title === "sftp" ? "an SFTP client" : "an SCP client",
    names,
    links: title === "sftp",
    copy: async (job) => {
      await using driver = await Driver.start(command, scratchDir(), env);
      const answer = await driver.call({
        port: job.port,
        username: job.username,
        host_keys: job.keys.map((key) => key.line),
        key_file: job.clientKey.file,
        files: { by: title, tree: job.tree, back: job.back },
      }, 30_000) as { error: string } | { listing: string[] | null };
      if ("error" in answer) throw new Error(answer.error);
      return answer.listing === null ? null : answer.listing.join("\n");
    },
  };
}

const python = "/usr/bin/python3";

/** All but SSHFS. */
export const fileClients: readonly FileClient[] = [
  sftpOf("openssh"),
  scpOf("openssh", false),
  scpOf("openssh", true),
  sftpOf("openssh10"),
  scpOf("openssh10", false),
  scpOf("openssh10", true),
  psftp,
  pscp("-sftp"),
  pscp("-scp"),
  scripted("paramiko", [python, `${scripts}/paramiko_files.py`], "lineFeed", "sftp", newerPython),
  scripted("asyncssh", [python, `${scripts}/asyncssh_client.py`], "raw", "sftp", newerPython),
  scripted("asyncssh", [python, `${scripts}/asyncssh_client.py`], "plain", "scp", newerPython),
  scripted("ssh2", ["node", `${scripts}/ssh2_client.mjs`, npmFolder], "lineFeed"),
  lftp,
  curl,
  rclone,
];
