"""An application on psycopg2, that is on libpq: no prepared statements, but much that lives in a session.

Tells its checks like checks.ts: `ok NAME`, `not ok NAME: why`, and `done` at the end.
"""
import io
import json
import os
import select
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extras
import psycopg2.pool

URL = os.environ["DATABASE_URL"]
PATIENCE_S = 15
CHECKS = []


def check(name):
    def keep(function):
        CHECKS.append((name, function))
        return function

    return keep


def session(**options):
    connection = psycopg2.connect(URL, **options)
    connection.autocommit = True
    return connection


def ask(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def do(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def fails_with(sqlstate, work):
    try:
        work()
    except psycopg2.Error as error:
        assert error.pgcode == sqlstate, f"expected {sqlstate}, got {error.pgcode}: {error}"
        return error
    raise AssertionError(f"expected an error {sqlstate}")


@check("migrations create and alter tables")
def _():
    with psycopg2.connect(URL) as connection:
        do(connection, "CREATE TABLE psy_items (id serial PRIMARY KEY, name text UNIQUE, data jsonb)")
        do(connection, "ALTER TABLE psy_items ADD COLUMN stock int DEFAULT 0")
        do(connection, "INSERT INTO psy_items (name) VALUES ('nail'), ('worker')")
    own = session()
    do(own, "CREATE INDEX CONCURRENTLY psy_items_stock ON psy_items (stock)")


@check("values of common types come back as they went")
def _():
    own = session()
    psycopg2.extras.register_default_jsonb(own)
    with own.cursor() as cursor:
        cursor.execute("SELECT %s, %s::jsonb, %s::bytea, %s", (["a", "ä"], json.dumps({"a": [1]}), b"\x00\xff", None))
        row = cursor.fetchone()
    assert (row[0], row[1], bytes(row[2]), row[3]) == (["a", "ä"], {"a": [1]}, b"\x00\xff", None), row


@check("a transaction commits, another rolls back")
def _():
    own = psycopg2.connect(URL)
    do(own, "UPDATE psy_items SET stock = 1 WHERE name = 'nail'")
    own.commit()
    do(own, "UPDATE psy_items SET stock = 99 WHERE name = 'nail'")
    fails_with("22012", lambda: do(own, "SELECT 1/0"))
    fails_with("25P02", lambda: do(own, "SELECT 1"))
    own.rollback()
    assert ask(own, "SELECT stock FROM psy_items WHERE name = 'nail'") == 1


@check("a transaction rolls back to a savepoint")
def _():
    own = psycopg2.connect(URL)
    do(own, "UPDATE psy_items SET stock = 2 WHERE name = 'nail'")
    do(own, "SAVEPOINT before")
    fails_with("23505", lambda: do(own, "INSERT INTO psy_items (name) VALUES ('nail')"))
    do(own, "ROLLBACK TO before")
    own.commit()
    assert ask(own, "SELECT stock FROM psy_items WHERE name = 'nail'") == 2


@check("set_session: isolation, read only")
def _():
    own = psycopg2.connect(URL)
    own.set_session(isolation_level="SERIALIZABLE", readonly=True)
    assert ask(own, "SHOW transaction_isolation") == "serializable"
    fails_with("25006", lambda: do(own, "UPDATE psy_items SET stock = 3"))
    own.rollback()


@check("two-phase commit by tpc_begin")
def _():
    own = psycopg2.connect(URL)
    supported = ask(own, "SHOW max_prepared_transactions") != "0"
    own.rollback()
    if not supported:
        return
    own.tpc_begin(own.xid(1, "psy-gtrid", "branch"))
    do(own, "UPDATE psy_items SET stock = 4 WHERE name = 'nail'")
    own.tpc_prepare()
    own.tpc_commit()
    assert ask(own, "SELECT stock FROM psy_items WHERE name = 'nail'") == 4


@check("a named cursor reads in pieces")
def _():
    own = psycopg2.connect(URL)
    with own.cursor(name="psy_cursor") as cursor:
        cursor.itersize = 500
        cursor.execute("SELECT generate_series(1, 5000)")
        assert [row[0] for row in cursor] == list(range(1, 5001))
    own.commit()


@check("a named cursor WITH HOLD outlives its transaction")
def _():
    own = psycopg2.connect(URL)
    cursor = own.cursor(name="psy_held", withhold=True)
    cursor.execute("SELECT generate_series(1, 10)")
    own.commit()
    assert len(cursor.fetchmany(6)) == 6
    own.commit()
    assert len(cursor.fetchall()) == 4
    cursor.close()


@check("execute_values, execute_batch")
def _():
    own = session()
    do(own, "CREATE TABLE psy_many (n int)")
    with own.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "INSERT INTO psy_many VALUES %s", [(n,) for n in range(500)])
        psycopg2.extras.execute_batch(cursor, "INSERT INTO psy_many VALUES (%s)", [(n,) for n in range(500)])
    assert ask(own, "SELECT count(*) FROM psy_many") == 1000


@check("COPY in and out")
def _():
    own = session()
    do(own, "CREATE TABLE psy_copied (n int, t text)")
    lines = "".join(f"{n}\tline {n}\n" for n in range(5000))
    out = io.StringIO()
    with own.cursor() as cursor:
        cursor.copy_from(io.StringIO(lines), "psy_copied")
        cursor.copy_expert("COPY (SELECT * FROM psy_copied ORDER BY n) TO STDOUT", out)
    assert out.getvalue() == lines


@check("COPY with a bad line fails and the session goes on")
def _():
    own = session()
    with own.cursor() as cursor:
        fails_with("22P02", lambda: cursor.copy_from(io.StringIO("x\ty\n"), "psy_copied"))
    assert ask(own, "SELECT count(*) FROM psy_copied") == 5000


@check("LISTEN hears what others NOTIFY")
def _():
    listener, notifier = session(), session()
    do(listener, "LISTEN psy_news")
    do(notifier, "NOTIFY psy_news, 'hello'")
    readable = select.select([listener], [], [], 3)[0]
    assert readable, "no notification within 3 s"
    listener.poll()
    assert [told.payload for told in listener.notifies] == ["hello"]


@check("a running query is cancelled")
def _():
    own = session()
    threading.Timer(0.3, own.cancel).start()
    fails_with("57014", lambda: do(own, "SELECT pg_sleep(30)"))
    assert ask(own, "SELECT 1") == 1


@check("search_path and time zone stay with their session")
def _():
    first, second = session(), session()
    do(first, "CREATE SCHEMA psy_other; CREATE TABLE psy_other.only_here AS SELECT 7 AS n")
    do(first, "SET search_path = psy_other; SET TIME ZONE 'Asia/Tokyo'")
    for _ in range(5):
        assert ask(first, "SELECT n FROM only_here") == 7
        assert ask(first, "SHOW timezone") == "Asia/Tokyo"
        fails_with("42P01", lambda: do(second, "SELECT n FROM only_here"))


@check("client_encoding of the session")
def _():
    own, other = session(), session()
    own.set_client_encoding("LATIN1")
    for _ in range(3):
        assert ask(own, "SELECT %s::text", ("ä",)) == "ä"
        assert ask(other, "SELECT %s::text", ("ä→",)) == "ä→"


@check("settings given at startup")
def _():
    own = session(options="-c search_path=pg_catalog -c statement_timeout=7s", application_name="shop")
    for _ in range(3):
        assert ask(own, "SHOW statement_timeout") == "7s"
        assert ask(own, "SHOW search_path") == "pg_catalog"
        assert ask(own, "SHOW application_name") == "shop"


@check("notices are kept")
def _():
    own = session()
    do(own, "DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    assert "hello" in own.notices[-1]


@check("a pooled connection is reset")
def _():
    pool = psycopg2.pool.ThreadedConnectionPool(1, 5, URL)
    own = pool.getconn()
    own.autocommit = True
    do(own, "SET TIME ZONE 'Asia/Tokyo'")
    own.reset()
    own.autocommit = True
    assert ask(own, "SHOW timezone") != "Asia/Tokyo"
    pool.putconn(own)
    pool.closeall()


@check("a large object is written and read")
def _():
    own = psycopg2.connect(URL)
    large = own.lobject(0, "wb")
    large.write(b"x" * 100_000)
    large.close()
    own.commit()
    assert len(own.lobject(large.oid, "rb").read()) == 100_000
    own.commit()


@check("errors have their SQLSTATE and fields")
def _():
    own = session()
    error = fails_with("23505", lambda: do(own, "INSERT INTO psy_items (name) VALUES ('nail')"))
    assert error.diag.constraint_name == "psy_items_name_key"
    fails_with("42601", lambda: do(own, "SELEC 1"))
    fails_with("42P01", lambda: do(own, "SELECT * FROM nowhere"))


@check("20 workers at once lose no update")
def _():
    problems = []

    def work():
        try:
            own = psycopg2.connect(URL)
            for _ in range(5):
                stock = ask(own, "SELECT stock FROM psy_items WHERE name = 'worker' FOR UPDATE")
                do(own, "UPDATE psy_items SET stock = %s WHERE name = 'worker'", (stock + 1,))
                own.commit()
            own.close()
        except Exception as error:
            problems.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == [], problems[0]
    assert ask(session(), "SELECT stock FROM psy_items WHERE name = 'worker'") == 100


def why_not(function):
    """None if the check passed. In a thread of its own: what waits in libpq looks at no signal."""
    told = [f"it took longer than {PATIENCE_S} s"]

    def work():
        try:
            function()
            told[0] = None
        except Exception as error:
            told[0] = " ".join(f"{type(error).__name__}: {error}".split())[:300]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return told[0]


def main():
    for name, function in CHECKS:
        why = why_not(function)
        print(f"ok {name}" if why is None else f"not ok {name}: {why}", flush=True)
    print("done", flush=True)
    os._exit(0)


main()
