/**
 * An OpenTimestamps calendar on loopback that promises everything at once and keeps nothing: what a ledger asks while the rate of its
 * appends is measured. A process of its own; prints its URL, and ends with its input.
 */
import { createServer } from "node:http";

const PENDING = Buffer.from("83dfe30d2ef90c8e", "hex");
const varbytes = (bytes) => Buffer.concat([Uint8Array.of(bytes.length), bytes]);

const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.method !== "POST") return response.writeHead(404).end("Pending confirmation in Bitcoin blockchain");
    const uri = varbytes(Buffer.from(`http://127.0.0.1:${server.address().port}`));
    // append 8 bytes, SHA-256, pending
    const path = Buffer.concat([Uint8Array.of(0xf0), varbytes(Buffer.alloc(8, 7)), Uint8Array.of(0x08, 0x00)]);
    response.end(Buffer.concat([path, PENDING, varbytes(uri)]));
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${server.address().port}\n`));
process.stdin.resume().on("end", () => process.exit());
