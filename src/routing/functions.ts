// Pure.
/**
 * What is known of functions by their name. A function that is not known here may do anything: the statement counts as
 * a write, and has no place to go without a table or a hint.
 *
 * A name that an application gave to a function of its own may hide one of these; then at most a branch is asked
 * whether it wrote that did not, and nothing is lost.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Depend on nothing but their arguments: safe even in a statement that every shard runs. */
const IMMUTABLE = words(`
  abs acos asin atan atan2 btrim cbrt ceil ceiling char_length character_length chr concat concat_ws convert_from
  convert_to cos cot decode degrees div encode exp factorial floor format gcd get_bit get_byte initcap lcm left length ln
  log log10 lower lpad ltrim make_date make_interval md5 mod octet_length overlay pi position power radians repeat
  replace reverse right round rpad rtrim scale set_bit set_byte sha224 sha256 sha384 sha512 sign sin split_part sqrt
  starts_with string_to_array strpos substr substring tan to_ascii to_hex translate trim trim_scale trunc upper
  width_bucket array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position
  array_positions array_prepend array_remove array_replace array_to_string array_upper cardinality
  date_part extract isfinite justify_days justify_hours justify_interval
  int4range int8range numrange tsrange tstzrange daterange lower_inc upper_inc isempty
  like_escape similar_to_escape textlike regexp_count regexp_instr regexp_like regexp_match regexp_replace
  regexp_split_to_array regexp_substr uuid_extract_timestamp uuid_extract_version
`);

/** Read only, but their value is the moment's, the session's or the server's. */
const STABLE = words(`
  now transaction_timestamp statement_timestamp clock_timestamp timeofday age date_trunc date_bin timezone to_char
  to_date to_timestamp to_number make_timestamp make_timestamptz make_time random random_normal gen_random_uuid uuidv4
  uuidv7 current_setting current_database current_catalog current_schema current_schemas current_query version
  pg_backend_pid pg_typeof pg_is_in_recovery pg_sleep pg_sleep_for pg_sleep_until pg_postmaster_start_time
  pg_conf_load_time inet_client_addr inet_client_port inet_server_addr inet_server_port txid_current_if_assigned
  pg_current_xact_id_if_assigned pg_column_size pg_size_pretty pg_encoding_to_char pg_char_to_encoding
  count sum avg min max array_agg string_agg bool_and bool_or every bit_and bit_or bit_xor any_value
  stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp regr_slope regr_intercept regr_r2
  percentile_cont percentile_disc mode row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
  last_value nth_value unnest generate_series generate_subscripts string_to_table regexp_matches
  regexp_split_to_table row_to_json to_json to_jsonb array_to_json hstore similarity
  to_tsvector to_tsquery plainto_tsquery websearch_to_tsquery phraseto_tsquery ts_rank ts_headline
  quote_ident quote_literal quote_nullable set_config
`);

/** About objects of the database: the catalog's, so asked of the first shard when nothing else says where. */
const CATALOG = words(`
  format_type obj_description col_description shobj_description to_regclass to_regtype to_regproc to_regnamespace
  pg_table_is_visible pg_type_is_visible pg_function_is_visible pg_relation_size pg_total_relation_size pg_table_size
  pg_indexes_size pg_database_size pg_relation_filenode pg_is_other_temp_schema pg_my_temp_schema pg_stat_get_activity
  pg_show_all_settings pg_options_to_table pg_tablespace_location pg_conversion_is_visible pg_opclass_is_visible
  pg_blocking_pids pg_locks pg_stat_file pg_current_wal_lsn pg_get_keywords pg_timezone_names pg_control_system
  pg_prepared_xact pg_lock_status
`);

/** Sequences and advisory locks: one of each for all clients, so always on the first shard. They count as writes. */
const CENTRAL = words(`
  nextval currval setval lastval
  pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all
  pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
  pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_notify
`);

const READING_PREFIX = /^(json_|jsonb_|range_|multirange_)/;
const CATALOG_PREFIX = /^(pg_get_|has_.*_privilege$|pg_stat_get_)/;

export type FunctionKind = "immutable" | "stable" | "catalog" | "central" | "unknown";

/** The kind of the function of that qualified name; one of another schema than PostgreSQL's own is not known. */
export function functionKind(qualified: readonly string[]): FunctionKind {
  const name = qualified.at(-1) ?? "";
  if (qualified.length > 1 && qualified[0] !== "pg_catalog") return "unknown";
  if (IMMUTABLE.has(name)) return "immutable";
  if (STABLE.has(name) || READING_PREFIX.test(name)) return "stable";
  if (CENTRAL.has(name)) return "central";
  return CATALOG.has(name) || CATALOG_PREFIX.test(name) ? "catalog" : "unknown";
}
