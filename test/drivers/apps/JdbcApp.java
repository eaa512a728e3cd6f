import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.sql.XAConnection;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.xa.PGXADataSource;

/**
 * An application on pgjdbc, which prepares on the server what it runs for the fifth time.
 *
 * <p>Tells its checks like checks.ts: `ok NAME`, `not ok NAME: why`, and `done` at the end.
 */
public class JdbcApp {
  private static final String URL = System.getenv("JDBC_URL");
  private static final int PATIENCE_S = 20;
  private static final Map<String, Check> CHECKS = new LinkedHashMap<>();

  interface Check {
    void run() throws Exception;
  }

  interface Work {
    void on(Connection connection) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    statements();
    transactions();
    flows();
    sessions();
    ExecutorService threads = Executors.newCachedThreadPool();
    CHECKS.forEach((name, check) -> {
      String why = whyNot(threads, check);
      System.out.println(why == null ? "ok " + name : "not ok " + name + ": " + why);
    });
    System.out.println("done");
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }

  private static String whyNot(ExecutorService threads, Check check) {
    Future<?> work = threads.submit((Callable<Void>) () -> {
      check.run();
      return null;
    });
    try {
      work.get(PATIENCE_S, TimeUnit.SECONDS);
      return null;
    } catch (TimeoutException late) {
      return "it took longer than " + PATIENCE_S + " s";
    } catch (Exception error) {
      String why = String.valueOf(error.getCause() == null ? error : error.getCause()).replaceAll("\\s+", " ");
      return why.substring(0, Math.min(300, why.length()));
    }
  }

  private static void with(Work work, String... parameters) throws Exception {
    Properties properties = new Properties();
    for (int i = 0; i < parameters.length; i += 2) properties.setProperty(parameters[i], parameters[i + 1]);
    try (Connection connection = DriverManager.getConnection(URL, properties)) {
      work.on(connection);
    }
  }

  private static void run(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  private static String ask(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      return rows.next() ? rows.getString(1) : null;
    }
  }

  private static void same(Object expected, Object actual) {
    if (!Objects.equals(expected, actual)) throw new AssertionError("expected " + expected + ", got " + actual);
  }

  private static SQLException failsWith(String sqlState, Check work) throws Exception {
    try {
      work.run();
    } catch (SQLException error) {
      if (!sqlState.equals(error.getSQLState())) throw error;
      return error;
    }
    throw new AssertionError("expected an error " + sqlState);
  }

  private static void statements() {
    CHECKS.put("migrations create and alter tables", () -> with(own -> {
      run(own, "CREATE TABLE jdbc_items (id serial PRIMARY KEY, name text UNIQUE, data jsonb);"
          + "ALTER TABLE jdbc_items ADD COLUMN stock int DEFAULT 0");
      run(own, "INSERT INTO jdbc_items (name) VALUES ('nail'), ('saw'), ('worker')");
      same(true, own.getMetaData().getColumns(null, "public", "jdbc_items", "stock").next());
    }));
    CHECKS.put("a statement beyond the prepare threshold", () -> with(own -> {
      try (PreparedStatement byName = own.prepareStatement("SELECT id FROM jdbc_items WHERE name = ?")) {
        for (int i = 0; i < 20; i++) {
          byName.setString(1, i % 2 == 0 ? "nail" : "saw");
          ResultSet rows = byName.executeQuery();
          same(true, rows.next());
          same(i % 2 + 1, rows.getInt(1));
        }
      }
    }));
    CHECKS.put("a prepared statement after ALTER TABLE", () -> with(own -> with(other -> {
      run(own, "CREATE TABLE jdbc_changing AS SELECT 1 AS v");
      try (PreparedStatement all = own.prepareStatement("SELECT * FROM jdbc_changing")) {
        for (int i = 0; i < 10; i++) all.executeQuery().close();
        run(other, "ALTER TABLE jdbc_changing ADD COLUMN w int DEFAULT 2");
        ResultSet rows = all.executeQuery(); // autosave and retry are the driver's
        rows.next();
        same(2, rows.getMetaData().getColumnCount());
      }
    })));
    for (String mode : new String[] {"simple", "extendedForPrepared", "extendedCacheEverything"}) {
      CHECKS.put("query mode " + mode, () -> with(own -> {
        own.setAutoCommit(false);
        for (int i = 0; i < 12; i++) {
          try (PreparedStatement byId = own.prepareStatement("SELECT name FROM jdbc_items WHERE id = ?")) {
            byId.setInt(1, 1 + i % 2);
            ResultSet rows = byId.executeQuery();
            rows.next();
            same(i % 2 == 0 ? "nail" : "saw", rows.getString(1));
          }
          same("1", ask(own, "SELECT 1"));
          own.commit();
        }
      }, "preferQueryMode", mode));
    }
    CHECKS.put("prepared from the first time on, DEALLOCATE ALL between", () -> with(own -> {
      for (int i = 0; i < 6; i++) {
        try (PreparedStatement byId = own.prepareStatement("SELECT name FROM jdbc_items WHERE id = ?")) {
          byId.setInt(1, 1);
          byId.executeQuery().close();
        }
        if (i % 2 == 1) run(own, "DEALLOCATE ALL");
      }
    }, "prepareThreshold", "1"));
    CHECKS.put("an updatable result", () -> with(own -> {
      try (Statement statement =
          own.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
        ResultSet rows = statement.executeQuery("SELECT id, stock FROM jdbc_items WHERE name = 'saw'");
        rows.next();
        rows.updateInt("stock", 8);
        rows.updateRow();
      }
      same("8", ask(own, "SELECT stock FROM jdbc_items WHERE name = 'saw'"));
    }));
    CHECKS.put("values of common types come back as they went", () -> with(own -> {
      try (PreparedStatement echo = own.prepareStatement("SELECT ?::int8, ?::numeric, ?::bytea, ?::text[], ?::uuid")) {
        for (int i = 0; i < 8; i++) {
          java.util.UUID id = java.util.UUID.randomUUID();
          echo.setLong(1, 1L << 62);
          echo.setBigDecimal(2, new java.math.BigDecimal("12.50"));
          echo.setBytes(3, new byte[] {0, -1});
          echo.setArray(4, own.createArrayOf("text", new String[] {"a", null, "ä"}));
          echo.setObject(5, id);
          ResultSet row = echo.executeQuery();
          row.next();
          same(1L << 62, row.getLong(1));
          same("12.50", row.getString(2));
          same(true, Arrays.equals(new byte[] {0, -1}, row.getBytes(3)));
          same("[a, null, ä]", Arrays.toString((Object[]) row.getArray(4).getArray()));
          same(id, row.getObject(5));
        }
      }
    }));
    CHECKS.put("generated keys", () -> with(own -> {
      String sql = "INSERT INTO jdbc_items (name) VALUES ('keyed')";
      try (PreparedStatement insert = own.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
        same(1, insert.executeUpdate());
        ResultSet keys = insert.getGeneratedKeys();
        same(true, keys.next());
      }
    }));
    for (String rewritten : new String[] {"false", "true"}) {
      CHECKS.put("a batch of 1000, rewritten " + rewritten, () -> with(own -> {
        run(own, "DROP TABLE IF EXISTS jdbc_batch; CREATE TABLE jdbc_batch (n int PRIMARY KEY)");
        try (PreparedStatement insert = own.prepareStatement("INSERT INTO jdbc_batch VALUES (?)")) {
          for (int n = 0; n < 1000; n++) {
            insert.setInt(1, n);
            insert.addBatch();
          }
          same(1000, insert.executeBatch().length);
        }
        same("1000", ask(own, "SELECT count(*) FROM jdbc_batch"));
      }, "reWriteBatchedInserts", rewritten));
    }
    CHECKS.put("a batch that fails in its middle", () -> with(own -> {
      try (PreparedStatement insert = own.prepareStatement("INSERT INTO jdbc_batch VALUES (?)")) {
        for (int n : new int[] {2001, 5, 2002}) {
          insert.setInt(1, n);
          insert.addBatch();
        }
        insert.executeBatch();
        throw new AssertionError("expected an error");
      } catch (BatchUpdateException error) {
        same("23505", error.getSQLState());
      }
      same("1000", ask(own, "SELECT count(*) FROM jdbc_batch"));
    }));
    CHECKS.put("errors have their SQLSTATE", () -> with(own -> {
      failsWith("23505", () -> run(own, "INSERT INTO jdbc_items (name) VALUES ('nail')"));
      failsWith("42601", () -> run(own, "SELEC 1"));
      failsWith("42P01", () -> run(own, "SELECT * FROM nowhere"));
    }));
  }

  private static void transactions() {
    CHECKS.put("a transaction commits, another rolls back", () -> with(own -> {
      own.setAutoCommit(false);
      run(own, "UPDATE jdbc_items SET stock = 1 WHERE name = 'nail'");
      own.commit();
      run(own, "UPDATE jdbc_items SET stock = 99 WHERE name = 'nail'");
      failsWith("22012", () -> run(own, "SELECT 1/0"));
      failsWith("25P02", () -> run(own, "SELECT 1"));
      own.rollback();
      same("1", ask(own, "SELECT stock FROM jdbc_items WHERE name = 'nail'"));
      own.commit();
    }));
    CHECKS.put("a transaction rolls back to a savepoint", () -> with(own -> {
      own.setAutoCommit(false);
      run(own, "UPDATE jdbc_items SET stock = 2 WHERE name = 'nail'");
      Savepoint before = own.setSavepoint("before");
      failsWith("23505", () -> run(own, "INSERT INTO jdbc_items (name) VALUES ('nail')"));
      own.rollback(before);
      own.commit();
      same("2", ask(own, "SELECT stock FROM jdbc_items WHERE name = 'nail'"));
      own.commit();
    }));
    CHECKS.put("autosave rolls back the statement alone", () -> with(own -> {
      own.setAutoCommit(false);
      for (int i = 0; i < 8; i++) {
        run(own, "UPDATE jdbc_items SET stock = 3 WHERE name = 'nail'");
        failsWith("22012", () -> run(own, "SELECT 1/0"));
      }
      own.commit();
      same("3", ask(own, "SELECT stock FROM jdbc_items WHERE name = 'nail'"));
      own.commit();
    }, "autosave", "always"));
    CHECKS.put("isolation and read only", () -> with(own -> {
      own.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      own.setReadOnly(true);
      own.setAutoCommit(false);
      for (int i = 0; i < 3; i++) {
        same("serializable", ask(own, "SHOW transaction_isolation"));
        failsWith("25006", () -> run(own, "UPDATE jdbc_items SET stock = 4"));
        own.rollback();
      }
    }));
    CHECKS.put("a branch of an XA transaction", () -> {
      PGXADataSource source = new PGXADataSource();
      source.setUrl(URL);
      XAConnection own = source.getXAConnection();
      XAResource resource = own.getXAResource();
      Xid id = new BranchId();
      resource.start(id, XAResource.TMNOFLAGS);
      run(own.getConnection(), "UPDATE jdbc_items SET stock = 9 WHERE name = 'saw'");
      resource.end(id, XAResource.TMSUCCESS);
      same(XAResource.XA_OK, resource.prepare(id));
      same(1, resource.recover(XAResource.TMSTARTRSCAN).length);
      resource.commit(id, false);
      same("9", ask(own.getConnection(), "SELECT stock FROM jdbc_items WHERE name = 'saw'"));
      own.close();
    });
    CHECKS.put("20 workers at once lose no update", () -> {
      ExecutorService workers = Executors.newFixedThreadPool(20);
      Callable<Void> work = () -> {
        with(own -> {
          own.setAutoCommit(false);
          for (int i = 0; i < 8; i++) addOne(own);
        });
        return null;
      };
      for (Future<Void> done : workers.invokeAll(java.util.Collections.nCopies(20, work))) done.get();
      workers.shutdown();
      with(own -> same("160", ask(own, "SELECT stock FROM jdbc_items WHERE name = 'worker'")));
    });
  }

  private static void addOne(Connection own) throws SQLException {
    int stock = Integer.parseInt(ask(own, "SELECT stock FROM jdbc_items WHERE name = 'worker' FOR UPDATE"));
    try (PreparedStatement set = own.prepareStatement("UPDATE jdbc_items SET stock = ? WHERE name = 'worker'")) {
      set.setInt(1, stock + 1);
      set.executeUpdate();
    }
    own.commit();
  }

  private static void flows() {
    CHECKS.put("a fetch size reads in pieces", () -> with(own -> {
      own.setAutoCommit(false);
      try (Statement statement = own.createStatement()) {
        statement.setFetchSize(100);
        ResultSet rows = statement.executeQuery("SELECT generate_series(1, 5000)");
        int last = 0;
        while (rows.next()) same(++last, rows.getInt(1));
        same(5000, last);
      }
      own.commit();
    }));
    CHECKS.put("COPY in and out", () -> with(own -> {
      run(own, "CREATE TABLE jdbc_copied (n int)");
      StringBuilder lines = new StringBuilder();
      for (int n = 0; n < 5000; n++) lines.append(n).append('\n');
      CopyManager copy = own.unwrap(PGConnection.class).getCopyAPI();
      same(5000L, copy.copyIn("COPY jdbc_copied FROM STDIN", new StringReader(lines.toString())));
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      copy.copyOut("COPY (SELECT * FROM jdbc_copied ORDER BY n) TO STDOUT", out);
      same(lines.toString(), out.toString("UTF-8"));
    }));
    CHECKS.put("COPY with a bad line fails and the session goes on", () -> with(own -> {
      CopyManager copy = own.unwrap(PGConnection.class).getCopyAPI();
      failsWith("22P02", () -> copy.copyIn("COPY jdbc_copied FROM STDIN", new StringReader("x\n")));
      same("5000", ask(own, "SELECT count(*) FROM jdbc_copied"));
    }));
    CHECKS.put("LISTEN hears what others NOTIFY", () -> with(listener -> with(notifier -> {
      run(listener, "LISTEN jdbc_news");
      run(notifier, "NOTIFY jdbc_news, 'hello'");
      PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(3000);
      same(true, heard != null && heard.length == 1);
      same("hello", heard[0].getParameter());
    })));
    CHECKS.put("a running query is cancelled", () -> with(own -> {
      try (Statement statement = own.createStatement()) {
        Thread canceller = new Thread(() -> {
          try {
            Thread.sleep(300);
            statement.cancel();
          } catch (Exception ignored) {
            // the query's own end tells
          }
        });
        canceller.start();
        failsWith("57014", () -> statement.execute("SELECT pg_sleep(30)"));
      }
      same("1", ask(own, "SELECT 1"));
    }));
    CHECKS.put("a query timeout", () -> with(own -> {
      try (Statement statement = own.createStatement()) {
        statement.setQueryTimeout(1);
        failsWith("57014", () -> statement.execute("SELECT pg_sleep(30)"));
      }
    }));
  }

  private static void sessions() {
    CHECKS.put("setSchema and time zone stay with their session", () -> with(first -> with(second -> {
      run(first, "CREATE SCHEMA jdbc_other; CREATE TABLE jdbc_other.only_here AS SELECT 7 AS n");
      first.setSchema("jdbc_other");
      run(first, "SET TIME ZONE 'Asia/Tokyo'");
      for (int i = 0; i < 8; i++) {
        same("7", ask(first, "SELECT n FROM only_here"));
        same("Asia/Tokyo", ask(first, "SHOW timezone"));
        failsWith("42P01", () -> ask(second, "SELECT n FROM only_here"));
      }
    })));
    CHECKS.put("settings given at startup", () -> with(
        own -> {
          same("jdbc_other", ask(own, "SHOW search_path"));
          same("7s", ask(own, "SHOW statement_timeout"));
          same("shop", ask(own, "SHOW application_name"));
        },
        "currentSchema", "jdbc_other", "options", "-c statement_timeout=7s", "ApplicationName", "shop"));
    CHECKS.put("targetServerType primary, for which it asks", () -> with(
        own -> same("1", ask(own, "SELECT 1")), "targetServerType", "primary"));
    CHECKS.put("setClientInfo follows the session", () -> with(first -> with(second -> {
      first.setClientInfo("ApplicationName", "till");
      for (int i = 0; i < 3; i++) {
        same("till", ask(first, "SHOW application_name"));
        same(false, "till".equals(ask(second, "SHOW application_name")));
      }
    })));
    CHECKS.put("DISCARD ALL, after which the driver prepares anew", () -> with(own -> {
      try (PreparedStatement byId = own.prepareStatement("SELECT name FROM jdbc_items WHERE id = ?")) {
        for (int i = 0; i < 10; i++) {
          byId.setInt(1, 1);
          byId.executeQuery().close();
          if (i == 7) run(own, "DISCARD ALL");
        }
      }
    }));
    CHECKS.put("isValid and a temporary table", () -> with(own -> {
      run(own, "CREATE TEMP TABLE jdbc_scratch (v int)");
      same(true, own.isValid(2));
      run(own, "INSERT INTO jdbc_scratch VALUES (1)");
      same("1", ask(own, "SELECT count(*) FROM jdbc_scratch"));
    }));
  }

  /** A branch of somebody's global transaction. */
  private static final class BranchId implements Xid {
    public int getFormatId() {
      return 1;
    }

    public byte[] getGlobalTransactionId() {
      return "jdbc-global".getBytes();
    }

    public byte[] getBranchQualifier() {
      return "branch".getBytes();
    }
  }
}
