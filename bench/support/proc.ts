/**
 * Bench. What Linux says of a process: its CPU time, its memory, its children.
 *
 * @module
 */

/** Ticks per second of the times in /proc/PID/stat: USER_HZ, 100 on every Linux that Deno runs on. */
const USER_HZ = 100;

/** CPU seconds of a process so far without its children, to a hundredth; NaN when it is gone. */
export function cpuSecondsOf(pid: number): number {
  try {
    const fields = afterName(pid);
    return (Number(fields[11]) + Number(fields[12])) / USER_HZ;
  } catch {
    return NaN;
  }
}

/** CPU seconds of the children of a process that have ended, and of theirs, to a hundredth. */
export function childSecondsOf(pid: number): number {
  const fields = afterName(pid);
  return (Number(fields[13]) + Number(fields[14])) / USER_HZ;
}

/** The threads of a process, each with its CPU seconds so far. */
export function threadsOf(pid: number): { id: number; name: string; seconds: number }[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name: id }) => {
    const read = (file: string): string => Deno.readTextFileSync(`/proc/${pid}/task/${id}/${file}`);
    return { id: Number(id), name: read("comm").trim(), seconds: Number(read("schedstat").split(" ")[0]) / 1e9 };
  });
}

/** Open files and sockets of a process. */
export function openFilesOf(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** Field of /proc/PID/status or smaps_rollup in bytes; NaN when it is gone. */
export function memoryOf(pid: number, field: "VmRSS" | "VmHWM" | "Pss"): number {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/${field === "Pss" ? "smaps_rollup" : "status"}`);
    return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? NaN) * 1024;
  } catch {
    return NaN;
  }
}

/** Every process below one, by reading all of /proc once. */
export function descendants(pid: number): { pid: number; name: string }[] {
  const children = new Map<number, { pid: number; name: string }[]>();
  for (const entry of Deno.readDirSync("/proc")) {
    const id = Number(entry.name);
    if (!Number.isInteger(id)) continue;
    try {
      const parent = Number(afterName(id)[1]);
      const name = Deno.readTextFileSync(`/proc/${id}/comm`).trim();
      children.set(parent, [...children.get(parent) ?? [], { pid: id, name }]);
    } catch {
      // It ended in between.
    }
  }
  const found: { pid: number; name: string }[] = [];
  const visit = (id: number): void => {
    for (const child of children.get(id) ?? []) {
      found.push(child);
      visit(child.pid);
    }
  };
  visit(pid);
  return found;
}

/** The fields of /proc/PID/stat after the name, which may hold blanks: [0] is the state, [1] the parent. */
function afterName(pid: number): string[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
