// usage: node validate.mjs FILE…    Prints what is wrong with OpenAPI and AsyncAPI documents, a line
// each; exit 1 if there is anything.
import { readFile } from 'node:fs/promises';

import { Parser, fromFile } from '@asyncapi/parser';
import { Validator } from '@seriousme/openapi-schema-validator';

const ERROR = 0;
const WARNING = 1;

async function openapiProblems(file) {
  const { valid, errors } = await new Validator().validate(file);
  if (valid) return [];
  const told = typeof errors === 'string' ? [{ message: errors }] : errors;
  return told.map(({ instancePath = '', message }) => `${instancePath} ${message}`);
}

async function asyncapiProblems(file) {
  const { diagnostics } = await fromFile(new Parser(), file).parse();
  return diagnostics
    .filter(({ severity }) => severity === ERROR || severity === WARNING)
    .map(({ path, message }) => `/${path.join('/')} ${message}`);
}

async function problemsOf(file) {
  const isAsync = /^asyncapi:/m.test(await readFile(file, 'utf8'));
  return isAsync ? asyncapiProblems(file) : openapiProblems(file);
}

let count = 0;
for (const file of process.argv.slice(2)) {
  for (const problem of await problemsOf(file)) {
    console.log(`${file}: ${problem}`);
    count += 1;
  }
}
process.exitCode = count > 0 ? 1 : 0;
