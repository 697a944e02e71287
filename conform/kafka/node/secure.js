// Logins, rights and encryption.
'use strict';

const { readFileSync } = require('node:fs');
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, ResourcePatternTypes, logLevel } = require('kafkajs');
const { Rig, cases, offsets, until, values } = require('./rig.js');

const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'];

const login = (mechanism, username, password) => ({ mechanism: mechanism.toLowerCase(), username, password });

/** 0, or the number of the refusal. */
async function verdict(broker, sasl, ssl) {
  const admin = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, retry: { retries: 0 }, sasl, ssl }).admin();
  try {
    await admin.connect();
    return 0;
  } catch (error) {
    if (error.name === 'KafkaJSSASLAuthenticationError') return 58; // its only word for all that can go wrong
    throw error;
  } finally {
    await admin.disconnect();
  }
}

for (const mechanism of MECHANISMS) {
  cases[`sasl_${mechanism.toLowerCase().replaceAll('-', '_')}`] = async (rig) => {
    const right = await verdict(rig.options.sasl, login(mechanism, 'alice', 'alice-secret'));
    const wrong = await verdict(rig.options.sasl, login(mechanism, 'alice', 'guess'));
    return { right, wrong, unknown: await verdict(rig.options.sasl, login(mechanism, 'nobody', 'alice-secret')) };
  };
}

cases.sasl_rights = async (rig) => {
  const topic = await rig.topic();
  const alice = new Rig('alice', { bootstrap: rig.options.sasl }, { sasl: login('PLAIN', 'alice', 'alice-secret') });
  const write = async () => [await alice.produce(topic, ['x'])].flat();
  const about = { resourceType: AclResourceTypes.TOPIC, resourcePatternType: ResourcePatternTypes.LITERAL };
  const allow = async (principal, operation) => {
    const rule = { ...about, resourceName: topic, principal, host: '*', operation, permissionType: AclPermissionTypes.ALLOW };
    return (await rig.admin.createAcls({ acl: [rule] })) ? 0 : 'not allowed';
  };
  const every = { ...about, resourceName: topic, operation: AclOperationTypes.ANY, permissionType: AclPermissionTypes.ANY };
  const word = (words, number) => Object.keys(words).find((name) => words[name] === number);
  const allowed = async () => {
    const rules = (await rig.admin.describeAcls(every)).resources.flatMap((resource) => resource.acls);
    return rules.map((rule) => [rule.principal, word(AclOperationTypes, rule.operation), word(AclPermissionTypes, rule.permissionType), rule.host]).sort();
  };
  try {
    const before = await write();
    const codes = [await allow('User:bob', AclOperationTypes.WRITE), await allow('User:alice', AclOperationTypes.DESCRIBE)];
    await until(async () => (await allowed()).length === 2);
    const denied = await until(async () => {
      const found = await write();
      return found[0].code && found;
    });
    await allow('User:alice', AclOperationTypes.WRITE);
    const permitted = await until(async () => {
      const found = await write();
      return !found[0].code && found;
    });
    const listed = await allowed();
    const removed = (await rig.admin.deleteAcls({ filters: [every] })).filterResponses[0].matchingAcls.length;
    return { before, codes, denied, allowed: permitted, listed, removed };
  } finally {
    await alice.close();
  }
};

const trusting = (rig) => ({ ca: [readFileSync(rig.options.ca)] });

cases.tls_roundtrip = async (rig) => {
  const topic = await rig.topic();
  const other = new Rig(rig.name('.tls'), { bootstrap: rig.options.tls }, { ssl: trusting(rig) });
  try {
    const placed = await other.produce(topic, ['a', 'b', 'c']);
    const read = await other.read(topic, 3);
    return { placed, read: values(read), offsets: offsets(read) };
  } finally {
    await other.close();
  }
};

cases.tls_unknown_authority = async (rig) => {
  try {
    await verdict(rig.options.tls, undefined, true);
    return 'connected';
  } catch (error) {
    if (/self-signed certificate|unable to verify|unable to get/.test(String(error))) return 'refused';
    throw error;
  }
};

cases.tls_logins = async (rig) => {
  const found = {};
  for (const mechanism of MECHANISMS) {
    const said = (password) => verdict(rig.options['sasl-tls'], login(mechanism, 'alice', password), trusting(rig));
    found[mechanism] = [await said('alice-secret'), await said('guess')];
  }
  return found;
};
