/**
 * Bench. What users wait for first: a connection, a command, an SFTP session, a small file. Each prints a mark when it is done. Plain
 * JavaScript because Node runs it too. With `params.again` it is the second connection of the program that counts.
 *
 * Beside what `common.mjs` asks for, a driver's SFTP session has `read(path)`.
 */

import { addScenarios, params, report } from "./common.mjs";

addScenarios({
  async flights(connect) {
    if (params.again) await (await connect(params)).close();
    let since = performance.now();
    const mark = (name) => {
      const now = performance.now();
      report({ mark: name, ms: now - since });
      since = now;
    };
    const conn = await connect(params);
    mark("connect");
    await conn.exec("true");
    mark("exec");
    const sftp = await conn.sftp();
    mark("sftp");
    await sftp.read(params.remote);
    mark("file");
    await conn.close();
    mark("close");
    return { mark: "end" };
  },
});
