// The cases that amqplib can express. Prints one line of JSON per case; see xtask/src/conform.rs for who reads it.
'use strict';

const { parseArgs } = require('node:util');
const { Rig, cases } = require('./rig.js');

require('./definitions.js');
require('./messages.js');

async function main() {
  const texts = ['url', 'tls-url', 'ca', 'only'];
  const { values: options } = parseArgs({ options: Object.fromEntries(texts.map((name) => [name, { type: 'string' }])) });
  const only = options.only ? options.only.split(',') : Object.keys(cases);
  for (const name of only.filter((name) => cases[name])) {
    if (name.startsWith('tls_') && !options['tls-url']) continue;
    const rig = new Rig(name, options);
    let answer;
    try {
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
