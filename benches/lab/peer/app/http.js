// The application of the Node subjects. On SIGTERM (most supervisors) or SIGINT (pm2) it does all
// that Node's and pm2's documentation advise: it takes no new connections, asks its clients to end
// theirs, finishes what it has been asked, and exits although a cluster's channel is still open.
// Usage: node http.js PORT ADDRESS
const cluster = require('cluster');
const http = require('http');

// The last two: pm2-runtime leaves its own arguments in front of them.
const [port, host] = process.argv.slice(-2);
let closing = false;

const server = http.createServer((_request, response) => {
  response.setHeader('X-Worker', process.pid);
  if (closing) response.setHeader('Connection', 'close');
  response.end('hello\n');
});
// The load ends its connections; a server that does it first would lose requests without a reload.
server.keepAliveTimeout = 120_000;
server.listen({ port: Number(port), host, reusePort: process.env.REUSE_PORT === '1' }, () => {
  // To a cluster's primary: with reusePort it hears nothing of the listening itself.
  process.send?.('ready');
});

function close() {
  closing = true;
  server.close(() => {
    if (!cluster.isWorker) process.exit(0);
    // Not at once: the primary may just be handing out one more connection, and would lose it.
    cluster.worker.disconnect();
  });
}
process.on('disconnect', () => process.exit(0));
process.on('SIGTERM', close);
process.on('SIGINT', close);
