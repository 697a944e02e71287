// The cases that nats.js can express. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.
// The same rules as in ../python/rig.py, so that the same case gives the same answer.
'use strict';

const readline = require('node:readline');
const { parseArgs } = require('node:util');
const { Rig, cases } = require('./rig.js');

require('./core.js');
require('./streams.js');
require('./buckets.js');

const lines = readline.createInterface({ input: process.stdin });
let over = false;
lines.once('close', () => (over = true));

/** Have the server restarted; false if nobody knows how. */
function restart() {
  if (over) return false;
  const said = new Promise((resolve) => {
    lines.once('line', (line) => resolve(line.trim() === 'done'));
    lines.once('close', () => resolve(false));
  });
  console.log(JSON.stringify({ ask: 'restart' }));
  return said;
}

async function main() {
  const texts = ['url', 'server', 'tls', 'only'];
  const { values: options } = parseArgs({ options: Object.fromEntries(texts.map((name) => [name, { type: 'string' }])) });
  const only = options.only ? options.only.split(',') : Object.keys(cases);
  for (const name of only.filter((name) => cases[name])) {
    const rig = new Rig(name, options, restart);
    let answer;
    try {
      await rig.start();
      answer = await cases[name](rig);
    } catch (error) {
      console.error(error);
      answer = { broken: String(error) }; // a case that breaks is an answer that differs
    }
    await rig.close();
    console.log(JSON.stringify({ case: name, answer }));
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
