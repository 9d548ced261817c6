// oidc-provider for tests: node openid_provider.mjs NODE_MODULES PORT SECRET REDIRECT. Every login is accepted; each user is in
// the group 'team'.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, port, secret, redirect] = process.argv.slice(2);
const entry = createRequire(modules + '/').resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(entry));
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'packages',
    client_secret: secret,
    redirect_uris: [redirect],
    post_logout_redirect_uris: [new URL('/', redirect).href],
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
  }],
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email', 'groups'],
  claims: { openid: ['sub', 'groups', 'preferred_username'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, groups: ['team'] }) }),
});
provider.listen(Number(port), '127.0.0.1');
