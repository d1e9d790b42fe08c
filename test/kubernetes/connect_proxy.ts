// An HTTP proxy for CONNECT (RFC 9110), in its own process: `bun connect_proxy.ts HOST PORT [USER:PASSWORD]`. It writes a line for each tunnel that it opens or
// refuses.

import { connect, createServer } from "node:net";

if (import.meta.main) {
  const [host = "127.0.0.1", port = "3128", user] = process.argv.slice(2);
  const wanted = user === undefined ? undefined : `Basic ${Buffer.from(user).toString("base64")}`;
  const server = createServer((client) => {
    client.on("error", () => {});
    client.once("data", (head) => {
      const text = head.toString("latin1");
      const [, targetHost = "", targetPort = ""] = /^CONNECT \[?([^\s\]]+?)\]?:(\d+) HTTP\/1\.1\r\n/.exec(text) ?? [];
      const [, given] = /^proxy-authorization: (.*)\r$/im.exec(text) ?? [];
      if (targetHost === "" || given !== wanted) {
        console.log(`refused ${targetHost}:${targetPort}`);
        client.end(`HTTP/1.1 ${targetHost === "" ? "400 Bad Request" : "407 Proxy Authentication Required"}\r\n\r\n`);
        return;
      }
      const target = connect({ host: targetHost, port: Number(targetPort) }, () => {
        console.log(`tunnel ${targetHost}:${targetPort}`);
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(target).pipe(client);
      });
      target.on("error", () => client.destroy());
      client.on("close", () => target.destroy());
      target.on("close", () => client.destroy());
    });
  });
  server.listen(Number(port), host, () => console.log("listening"));
}
