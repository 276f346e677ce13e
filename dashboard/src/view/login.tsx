/** Asks who looks, where the API wants to know. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { basic, signIn } from "../api.ts";
import { store } from "../store.ts";
import { Sentence } from "./parts.tsx";

export function Login({ reason }: { reason: string }): JSX.Element {
  const [user, setUser] = useState("");
  const [secret, setSecret] = useState("");
  const [token, setToken] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    signIn(token ? `Bearer ${secret.trim()}` : basic(user, secret));
    void store.start();
  };
  return (
    <main class="login">
      <form class="card" onSubmit={submit}>
        <img src="/ui/icon.svg" alt="" width="44" height="44" />
        <h1>eratos</h1>
        {reason && <Sentence tone="bad">{reason}</Sentence>}
        <div class="switch" role="group" aria-label="Sign in with">
          <button type="button" aria-pressed={!token} onClick={() => setToken(false)}>
            Password
          </button>
          <button type="button" aria-pressed={token} onClick={() => setToken(true)}>
            Token
          </button>
        </div>
        {!token && (
          <label>
            User
            <input value={user} autocomplete="username" required onInput={(event) => setUser(event.currentTarget.value)} />
          </label>
        )}
        <label>
          {token ? "Token" : "Password"}
          <input type="password" value={secret} autocomplete={token ? "off" : "current-password"} required onInput={(event) => setSecret(event.currentTarget.value)} />
        </label>
        <button type="submit" class="primary">
          Sign in
        </button>
        <p class="dim small">Kept until this tab is closed, and sent to this scheduler alone.</p>
      </form>
    </main>
  );
}
