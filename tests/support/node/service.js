// Has images cut out, from Node: jobs on standard input, one JSON value a line; outcomes on standard
// output. What is written to Redis, and why: docs/reference/protocol.md.
"use strict";

const readline = require("node:readline");
const celery = require("celery-node");
const Redis = require("ioredis");

const TASK = "cutwork.segment";
// The list of jobs that somebody waits for: celery-node knows no priorities, and pushes to the list
// that is called as its queue.
const QUEUE = "cutwork.default:3";
const WAIT_MILLISECONDS = 60_000;

// Written before the message: what is pending and lost is found and sent again.
async function writeDown(redis, job) {
  const [seconds, microseconds] = await redis.time();
  await redis
    .multi()
    .zadd("cutwork:pending", Number(seconds) + Number(microseconds) / 1e6, job.id)
    .hset("cutwork:pending:jobs", job.id, JSON.stringify(job))
    .del(`cutwork:outcome:${job.id}`)
    .exec();
}

async function outcomeOf(redis, id) {
  const key = `cutwork:outcome:${id}`;
  const found = await redis.xread("COUNT", 1, "BLOCK", WAIT_MILLISECONDS, "STREAMS", key, "0-0");
  if (found === null) throw new Error(`job ${id}: no outcome after ${WAIT_MILLISECONDS} ms`);
  const [[, [[, [, text]]]]] = found;
  return JSON.parse(text);
}

async function main(broker) {
  const client = celery.createClient(broker, broker, QUEUE);
  const redis = new Redis(broker);
  await client.isReady();
  const sent = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    await writeDown(redis, job);
    client.sendTask(TASK, [job], {}, job.id);
    sent.push(job.id);
  }
  for (const id of sent) process.stdout.write(`${JSON.stringify(await outcomeOf(redis, id))}\n`);
  await Promise.all([client.disconnect(), redis.quit()]);
}

main(process.argv[2]).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
