// The TypeScript SDK at the sandbox: a login, ten calls, and a refresh between them. Prints what happened as JSON.

import { createManagementApiSdk } from "@prisma/management-api-sdk";

const { PRISMA_MANAGEMENT_API_URL: apiBaseUrl, PRISMA_AUTH_URL: authBaseUrl, PRISMA_CLIENT_ID: clientId } = process.env;
const redirectUri = "http://127.0.0.1:53124/callback";
let stored = null;
let writes = 0;
const tokenStorage = {
  getTokens: async () => stored,
  setTokens: async (tokens) => {
    stored = tokens;
    writes++;
  },
  clearTokens: async () => (stored = null),
};
const { client, getLoginUrl, handleCallback, logout } = createManagementApiSdk({
  clientId,
  redirectUri,
  tokenStorage,
  apiBaseUrl,
  authBaseUrl,
});
const { url, state, verifier } = await getLoginUrl({ scope: "workspace:admin offline_access" });
const browser = await fetch(url, { redirect: "manual" }); // the sandbox's user says yes at once
await handleCallback({ callbackUrl: browser.headers.get("location"), verifier, expectedState: state });

const statuses = [];
const call = async (answer) => {
  const { data, error, response } = await answer;
  if (error) throw new Error(`${response.status}: ${JSON.stringify(error)}`);
  statuses.push(response.status);
  return data?.data;
};
const me = await call(client.GET("/v1/me"));
const workspaces = await call(client.GET("/v1/workspaces"));
const project = await call(client.POST("/v1/projects", { body: { name: "shop", createDatabase: false } }));
const project_path = { params: { path: { id: project.id } } };
await call(client.PATCH("/v1/projects/{id}", { ...project_path, body: { name: "store" } }));
const inside = { params: { path: { projectId: project.id } } };
const database = await call(
  client.POST("/v1/projects/{projectId}/databases", { ...inside, body: { name: "main", region: "us-east-1" } }),
);
await fetch(`${apiBaseUrl}/_sandbox/advance`, { method: "POST", body: JSON.stringify({ seconds: 7200 }) });
const together = await Promise.all([
  call(client.GET("/v1/projects/{id}", project_path)),
  call(client.GET("/v1/projects")),
  call(client.GET("/v1/databases/{databaseId}", { params: { path: { databaseId: database.id } } })),
]);
await call(client.DELETE("/v1/databases/{databaseId}", { params: { path: { databaseId: database.id } } }));
await call(client.DELETE("/v1/projects/{id}", project_path));
await logout();
process.stdout.write(
  JSON.stringify({
    statuses,
    writes,
    stored,
    workspace: me.workspace.id,
    workspaces: workspaces.length,
    names: [together[0].name, together[1].map((one) => one.name), together[2].name, together[2].status],
  }),
);
