// The cases that KafkaJS can express. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.
// The same rules as in ../python/rig.py, so that the same case gives the same answer.
'use strict';

const { inspect, parseArgs } = require('node:util');
const { Rig, cases } = require('./rig.js');

require('./topics.js');
require('./records.js');
require('./groups.js');
require('./secure.js');

async function main() {
  const texts = ['bootstrap', 'sasl', 'tls', 'sasl-tls', 'ca', 'only'];
  const { values: options } = parseArgs({ options: Object.fromEntries(texts.map((name) => [name, { type: 'string' }])) });
  const only = options.only ? options.only.split(',') : Object.keys(cases);
  for (const name of only.filter((name) => cases[name])) {
    if ((name.startsWith('sasl_') && !options.sasl) || (name.startsWith('tls_') && !options.tls)) continue;
    const rig = new Rig(name, options);
    await rig.start();
    let seen;
    try {
      seen = { answer: await cases[name](rig) };
    } catch (error) {
      seen = { answer: { broken: String(error) }, why: inspect(error) }; // a case that breaks is an answer that differs
    }
    await rig.close();
    console.log(JSON.stringify({ case: name, ...seen }));
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
