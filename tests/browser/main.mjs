// Browser tests in one process, one after the other, with one Chromium: those of the files named,
// "till" for test_till.mjs, or all. usage: node main.mjs [NAME…]
const ALL = ['till', 'stock', 'outbox', 'box', 'access', 'looks', 'speed'];
const wanted = process.argv.slice(2);

await Promise.all((wanted.length ? wanted : ALL).map((name) => import(`./test_${name}.mjs`)));
