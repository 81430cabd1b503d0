/** Writes src/protocol.ts: the types of every method and notification, from the OpenRPC document that a running daemon gives. */

import { writeFile } from "node:fs/promises";
import { compile } from "json-schema-to-typescript";
import WebSocket from "ws";

const { DAEMON_URL: url, DAEMON_TOKEN: token } = process.env;
if (!url || !token) throw new Error("DAEMON_URL and DAEMON_TOKEN have to name a running daemon, and a token for it");

const document = await discover();
const isNotice = (method) => "x-notification" in method;
const schema = {
  type: "object",
  required: ["methods", "notices"],
  properties: {
    methods: table("Methods", document.methods.filter((method) => !isNotice(method)), describe),
    notices: table("Notices", document.methods.filter(isNotice), parameters),
  },
  definitions: document.components.schemas,
};
const text = JSON.stringify(schema).replaceAll("#/components/schemas/", "#/definitions/");
const banner = `/* Made by 'npm run generate' from the OpenRPC document of nexus ${document.info.version}. */`;
await writeFile(
  new URL("src/protocol.ts", import.meta.url),
  await compile(JSON.parse(text), "Protocol", { additionalProperties: false, bannerComment: banner }),
);

/** Asks the daemon: two requests, so that a JSON-RPC library is not worth its while here. */
async function discover() {
  const socket = new WebSocket(url, "nexus.v1", { headers: { authorization: `Bearer ${token}` } });
  const ask = (id, method) =>
    new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.once("close", (code) => reject(new Error(`the daemon closed the connection: ${code}`)));
      socket.on("message", (data) => {
        const answer = JSON.parse(String(data));
        if (answer.id !== id) return;
        if (answer.error) reject(new Error(answer.error.message));
        else resolve(answer.result);
      });
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params: {} }));
    });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  await ask(1, "initialize");
  const found = await ask(2, "rpc.discover");
  socket.close();
  return found;
}

function table(title, methods, shape) {
  const properties = Object.fromEntries(methods.map((method) => [method.name, shape(method)]));
  return { title, type: "object", required: Object.keys(properties), properties };
}

function describe(method) {
  return {
    type: "object",
    description: method.summary,
    required: ["params", "result"],
    properties: { params: parameters(method), result: method.result.schema },
  };
}

function parameters(method) {
  return {
    type: "object",
    required: method.params.filter((param) => param.required).map((param) => param.name),
    properties: Object.fromEntries(method.params.map((param) => [param.name, param.schema])),
  };
}
