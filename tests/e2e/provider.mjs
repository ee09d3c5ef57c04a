// An OpenID provider for tests: the certified `oidc-provider` with one client, some people, and keys of its own with each start.
// Who logs in says `/be?who=NAME`: nobody is asked for a password.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, callback] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const people = {
  eva: { email: 'eva@example.com', email_verified: true, groups: ['shop-team', 'all'] },
  root: { email: 'root@example.com', email_verified: true, groups: ['admins'] },
  mallory: { email: 'root@example.com', email_verified: false, groups: ['all'] },
};
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
let who = 'eva';

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{
    client_id: 'yuanli', client_secret: 'of the engine', application_type: 'native',
    redirect_uris: [callback], response_types: ['code'], grant_types: ['authorization_code'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'email', 'groups'],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  cookies: { keys: [randomUUID()] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
});

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (who === 'nobody') {
    const refused = { error: 'access_denied', error_description: 'she <b>closed</b> the window' };
    return provider.interactionFinished(request, response, refused);
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: who } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const answer = provider.callback();
createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  try {
    if (url.pathname === '/be') {
      who = url.searchParams.get('who');
      response.end(who);
    } else if (url.pathname.startsWith('/interaction/')) {
      await interact(request, response);
    } else {
      answer(request, response);
    }
  } catch (error) {
    response.writeHead(500).end(String(error.stack));
  }
}).listen(Number(port), '127.0.0.1', () => console.log(`listens at ${issuer}`));
