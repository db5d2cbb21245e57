// Node's cluster, with the reload that everyone writes, because it has none: on SIGHUP one worker
// after the other is replaced, and the old one is told to stop when the new one listens.
// NODE_CLUSTER_SCHED_POLICY is `rr` (the primary accepts and hands out) or `none` (all accept).
// Usage: node cluster.js WORKERS PORT ADDRESS
const cluster = require('cluster');
const path = require('path');

const [workers, ...rest] = process.argv.slice(2);
const retired = new Set();

cluster.setupPrimary({ exec: path.join(__dirname, 'http.js'), args: rest });
for (let i = 0; i < Number(workers); i++) cluster.fork();

cluster.on('exit', (worker) => {
  if (!retired.delete(worker)) cluster.fork();
});

process.on('SIGHUP', async () => {
  for (const old of Object.values(cluster.workers)) {
    const fresh = cluster.fork();
    await new Promise((resolve) => fresh.once('message', resolve));
    retired.add(old);
    // Not old.kill(): that cuts the channel first, and with it the connections that are handed out.
    old.process.kill('SIGTERM');
  }
});

// Without workers nothing is left to wait for, and the primary ends by itself.
process.on('SIGTERM', () => {
  for (const worker of Object.values(cluster.workers)) {
    retired.add(worker);
    worker.process.kill('SIGTERM');
  }
});
