import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;

/** Logs in with each user and password of its arguments, after the URL, and prints a line for each. */
public class Login {
  public static void main(String[] args) throws Exception {
    for (int i = 1; i + 1 < args.length; i += 2) {
      try (Connection connection = DriverManager.getConnection(args[0], args[i], args[i + 1])) {
        connection.createStatement().executeQuery("SELECT 1").next();
        System.out.println("in");
      } catch (SQLException error) {
        System.out.println(error.getMessage().replace("\n", " "));
      }
    }
  }
}
