// Pure.
/** The configuration as it may be shown: without secrets. */
import type { Config, ShardConfig } from "./config.ts";

const HIDDEN = "(hidden)";

/** A copy with every secret of the option table hidden. */
export function redacted(config: Config): Config {
  const { auth, shards, users } = config;
  return {
    ...config,
    auth: { ...auth, query: auth.query === null ? null : withoutPassword(auth.query) },
    shards: shards.map(withoutSecrets),
    users: users.map(withoutPassword),
  };
}

const withoutSecrets = ({ scramKeys: _, ...shard }: ShardConfig): ShardConfig => withoutPassword(shard);

const withoutPassword = <Owner extends { readonly password: string | undefined }>(owner: Owner): Owner =>
  owner.password === undefined ? owner : { ...owner, password: HIDDEN };
