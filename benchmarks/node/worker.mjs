// The TypeScript SDK as a subject of measurement; speaks as benchmarks/worker.py does.

import { createInterface } from "node:readline";

const PATIENCE = 120_000; // ms for one measurement
const WARM = 1000;
const origin = process.argv[2];
let number = 100_000; // another id for each call

function tell(result) {
  process.stdout.write(JSON.stringify(result) + "\n");
}

async function connect() {
  const { createManagementApiClient } = await import("@prisma/management-api-sdk");
  const client = createManagementApiClient({ token: "token", baseUrl: origin });
  const data = async (answer) => {
    const { data, error } = await answer;
    if (error) throw error;
    return data.data;
  };
  return {
    one: () => data(client.GET("/v1/connections/{id}", { params: { path: { id: `con_${number++}` } } })),
    page: () => data(client.GET("/v1/connections", { params: { query: { limit: 100 } } })),
  };
}

async function fly(call, inFlight, calls) {
  const failures = {};
  let left = calls;
  const lane = async () => {
    while (left-- > 0) {
      try {
        await call();
      } catch (error) {
        const name = error.cause ? `${error.name} from ${error.cause.code ?? error.cause.name}` : error.name;
        failures[name] = (failures[name] ?? 0) + 1;
      }
    }
  };
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(() => resolve("late"), PATIENCE)));
  const lanes = Promise.all(Array.from({ length: inFlight }, lane));
  if ((await Promise.race([lanes, late])) === "late") failures.TimeoutError = 1;
  clearTimeout(timer);
  return failures;
}

async function measure(call, inFlight, calls, warmUp) {
  const warm = Math.min(inFlight, WARM);
  let failures = await fly(warmUp, inFlight, warm);
  if (Object.keys(failures).length) return { cpu: null, failures, of: warm };
  calls = Math.max(calls, inFlight);
  const before = process.cpuUsage();
  failures = await fly(call, inFlight, calls);
  const { user, system } = process.cpuUsage(before);
  return { cpu: (user + system) / 1e6 / calls, failures, of: calls };
}

let calls;
try {
  calls = await connect();
} catch (error) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  tell("@prisma/management-api-sdk is not installed: npm ci --prefix benchmarks/node");
  process.exit();
}
if ((await calls.page()).length !== 100 || !(await calls.one()).id) throw new Error("an unexpected answer");
for (let i = 0; i < 2000; i++) await calls.one(); // until V8 has compiled what is hot
tell("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const { what, in_flight, count } = JSON.parse(line);
  tell(await measure(calls[what], in_flight, count, calls.one));
}
process.exit();
