/*
 * Transfers over several shards as fast as an application can make them: what a proxy is measured against.
 *
 *     commitClient CLIENTS USER DECISIONS NAME ACCOUNTS PORT DATABASE [PORT DATABASE …]
 *
 * Logs CLIENTS clients in at every server on 127.0.0.1 (which trusts them), then obeys lines on stdin:
 *
 *     run WAY SECONDS
 *
 * and answers each with "TRANSACTIONS ELAPSED_US CPU_US" and the latency of each transaction in µs, one a line. ACCOUNTS
 * is a file with the accounts of each shard, one shard a line. One thread waits for all sockets; another flushes
 * the file DECISIONS, one fdatasync for all decisions that arrived while the one before it ran.
 *
 * The ways: the statements are the same in all of them, one UPDATE on each shard after the other, BEGIN glued to each,
 * both prepared beforehand. Then
 *
 *     sequential  PREPARE TRANSACTION on one shard after the other, the decision to the file, COMMIT PREPARED on one
 *                 shard after the other
 *     parallel    the same, but each phase on all shards at once
 *     anchor      PREPARE TRANSACTION on all but the last shard at once, the decision as a row in the last one's own
 *                 transaction and its COMMIT in the same message, COMMIT PREPARED on the others at once
 *     plain       COMMIT on all shards at once, which is not atomic
 *     proxied     one connection for everything (to a proxy, or to a Citus coordinator), and COMMIT
 *
 * Any unexpected answer ends the program: a figure that counts failures is none.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SHARDS_MAX = 64, MESSAGE_MAX = 2048, READ_MAX = 16384, EVENTS_MAX = 256, ROWS_KEPT = 64 };

enum way { SEQUENTIAL, PARALLEL, ANCHOR, PLAIN, PROXIED, WAYS };
static const char *const WAY_NAMES[WAYS] = {"sequential", "parallel", "anchor", "plain", "proxied"};

/* What a client does next, once it is owed no more answers. */
enum phase { UPDATE, PREPARE, DECIDE, FINISH, DONE };

struct client;

struct connection {
  int fd;
  int owed;            /* ReadyForQuery messages to come */
  const char *tag;     /* what the last CommandComplete before ReadyForQuery must say */
  struct client *client;
  size_t held;         /* bytes of an incomplete message */
  char in[READ_MAX];
};

struct client {
  int number;
  int owed; /* connections that owe an answer */
  enum phase phase;
  int step; /* the shard, where one comes after the other */
  long sequence;
  double began_us;
  struct client *next; /* in the queue of decisions */
  struct connection *connections;
};

/* A message on its way out. */
struct message {
  size_t length;
  char bytes[MESSAGE_MAX];
};

static int shards, connections_each, clients_count;
static long *accounts[SHARDS_MAX];
static int accounts_count[SHARDS_MAX];
static struct client *clients;
static const char *name;
static int poll_fd;
static enum way way;
static double until_us;
static int active;
static uint32_t *latencies;
static size_t latencies_count, latencies_room;

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("error: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static uint64_t random_next(void) {
  static uint64_t state = 0x9E3779B97F4A7C15u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/* --- messages --- */

static void add(struct message *message, const void *bytes, size_t length) {
  if (message->length + length > MESSAGE_MAX) fail("a message is too long");
  memcpy(message->bytes + message->length, bytes, length);
  message->length += length;
}

static void add_text(struct message *message, const char *text) { add(message, text, strlen(text) + 1); }

static void add_int16(struct message *message, int value) {
  uint16_t wire = htons((uint16_t)value);
  add(message, &wire, 2);
}

static void add_int32(struct message *message, long value) {
  uint32_t wire = htonl((uint32_t)value);
  add(message, &wire, 4);
}

/* Returns where the length goes, once the message is complete. */
static size_t begin(struct message *message, char type) {
  add(message, &type, 1);
  add_int32(message, 0);
  return message->length - 4;
}

static void end(struct message *message, size_t at) {
  uint32_t wire = htonl((uint32_t)(message->length - at));
  memcpy(message->bytes + at, &wire, 4);
}

static void add_query(struct message *message, const char *text) {
  size_t at = begin(message, 'Q');
  add_text(message, text);
  end(message, at);
}

static void add_parse(struct message *message, const char *statement, const char *text) {
  size_t at = begin(message, 'P');
  add_text(message, statement);
  add_text(message, text);
  add_int16(message, 0);
  end(message, at);
}

static void add_execution(struct message *message, const char *statement, int count, const long *values) {
  size_t at = begin(message, 'B');
  add_text(message, "");
  add_text(message, statement);
  add_int16(message, 0);
  add_int16(message, count);
  for (int i = 0; i < count; i++) {
    char text[24];
    int length = snprintf(text, sizeof text, "%ld", values[i]);
    add_int32(message, length);
    add(message, text, (size_t)length);
  }
  add_int16(message, 0);
  end(message, at);
  at = begin(message, 'E');
  add_text(message, "");
  add_int32(message, 0);
  end(message, at);
}

static void add_sync(struct message *message) { end(message, begin(message, 'S')); }

/* Messages are far smaller than a socket's buffer, and no more than a few are under way: this does not block. */
static void send_all(struct connection *connection, const struct message *message, int answers, const char *tag) {
  if (connection->owed == 0) connection->client->owed++;
  connection->owed += answers;
  connection->tag = tag;
  if (send(connection->fd, message->bytes, message->length, MSG_NOSIGNAL) != (ssize_t)message->length)
    fail("a server takes no message: %s", strerror(errno));
}

static void send_query(struct connection *connection, const char *tag, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct message message = {0};
  add_query(&message, text);
  send_all(connection, &message, 1, tag);
}

/* --- decisions in a file --- */

static int decision_fd, decided_fd;
static pthread_mutex_t decision_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t decision_wanted = PTHREAD_COND_INITIALIZER;
static struct client *undecided, *decided;

static void append_decisions(const struct client *batch) {
  char lines[65536];
  size_t length = 0;
  for (const struct client *one = batch; one != NULL; one = one->next)
    length += (size_t)snprintf(lines + length, sizeof lines - length, "hand:%s:%d:%ld commit\n", name, one->number,
                               one->sequence);
  if (length >= sizeof lines) fail("too many decisions at once");
  if (write(decision_fd, lines, length) != (ssize_t)length || fdatasync(decision_fd) != 0)
    fail("a decision is not durable: %s", strerror(errno));
}

static void *flush_decisions(void *unused) {
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&decision_lock);
    while (undecided == NULL) pthread_cond_wait(&decision_wanted, &decision_lock);
    struct client *batch = undecided;
    undecided = NULL;
    pthread_mutex_unlock(&decision_lock);
    append_decisions(batch);
    struct client *last = batch;
    while (last->next != NULL) last = last->next;
    pthread_mutex_lock(&decision_lock);
    last->next = decided;
    decided = batch;
    pthread_mutex_unlock(&decision_lock);
    if (eventfd_write(decided_fd, 1) != 0) fail("nobody is told of a decision");
  }
  return NULL;
}

static void decide(struct client *client) {
  pthread_mutex_lock(&decision_lock);
  client->next = undecided;
  undecided = client;
  pthread_cond_signal(&decision_wanted);
  pthread_mutex_unlock(&decision_lock);
}

/* --- a transaction --- */

static void update(struct client *client, int shard) {
  struct connection *connection = &client->connections[way == PROXIED ? 0 : shard];
  long values[2] = {1, accounts[shard][random_next() % (uint64_t)accounts_count[shard]]};
  /* What the others get, the last one gives: the sum stays. */
  if (shard == shards - 1) values[0] = 1 - shards;
  struct message message = {0};
  int answers = 1;
  if (way == PROXIED && shard == 0) {
    add_query(&message, "BEGIN");
    answers = 2;
  } else if (way != PROXIED) {
    add_execution(&message, "begin", 0, NULL);
  }
  add_execution(&message, "update", 2, values);
  add_sync(&message);
  send_all(connection, &message, answers, "UPDATE 1");
}

static void prepare(struct client *client, int shard) {
  send_query(&client->connections[shard], "PREPARE TRANSACTION", "PREPARE TRANSACTION 'hand:%s:%d:%ld'", name,
             client->number, client->sequence);
}

static void commit_prepared(struct client *client, int shard) {
  send_query(&client->connections[shard], "COMMIT PREPARED", "COMMIT PREPARED 'hand:%s:%d:%ld'", name,
             client->number, client->sequence);
}

/* Old rows are deleted now and then, by the transaction that writes a new one. */
static void commit_anchor(struct client *client) {
  char deletion[160] = "";
  if (client->sequence % ROWS_KEPT == 0)
    snprintf(deletion, sizeof deletion, "DELETE FROM hand_decision WHERE client = '%s:%d'; ", name, client->number);
  send_query(&client->connections[shards - 1], "COMMIT",
             "%sINSERT INTO hand_decision VALUES ('%s:%d', %ld); COMMIT", deletion, name, client->number,
             client->sequence);
}

static void advance(struct client *client);

static void start(struct client *client) {
  client->began_us = now_us();
  if (client->began_us >= until_us) {
    active--;
    return;
  }
  client->phase = UPDATE;
  client->step = 0;
  client->sequence++;
  update(client, client->step++);
}

static void note(struct client *client) {
  if (latencies_count == latencies_room) {
    latencies_room = latencies_room == 0 ? 65536 : latencies_room * 2;
    latencies = realloc(latencies, latencies_room * sizeof *latencies);
    if (latencies == NULL) fail("no memory for latencies");
  }
  latencies[latencies_count++] = (uint32_t)(now_us() - client->began_us);
}

static void commit_without_prepare(struct client *client) {
  int count = way == PROXIED ? 1 : shards;
  for (int shard = 0; shard < count; shard++) send_query(&client->connections[shard], "COMMIT", "COMMIT");
  client->phase = DONE;
}

static void advance_update(struct client *client) {
  if (client->step < shards) return update(client, client->step++);
  if (way == PROXIED || way == PLAIN) return commit_without_prepare(client);
  client->phase = PREPARE;
  client->step = 0;
  advance(client);
}

static void advance_prepare(struct client *client) {
  int voters = way == ANCHOR ? shards - 1 : shards;
  if (client->step == voters) {
    client->phase = DECIDE;
    client->step = 0;
    return way == ANCHOR ? commit_anchor(client) : decide(client);
  }
  do prepare(client, client->step++);
  while (way != SEQUENTIAL && client->step < voters);
}

static void advance_finish(struct client *client) {
  int prepared = way == ANCHOR ? shards - 1 : shards;
  do commit_prepared(client, client->step++);
  while (way != SEQUENTIAL && client->step < prepared);
  if (client->step == prepared) client->phase = DONE;
}

/* All answers are there: the next step. */
static void advance(struct client *client) {
  switch (client->phase) {
    case UPDATE:
      return advance_update(client);
    case PREPARE:
      return advance_prepare(client);
    case DECIDE:
      client->phase = FINISH;
      return advance_finish(client);
    case FINISH:
      return advance_finish(client);
    case DONE:
      note(client);
      return start(client);
  }
}

/* --- answers --- */

static void take(struct connection *connection, char type, const char *body, size_t length) {
  if (type == 'E') {
    const char *text = memchr(body, 'M', length);
    fail("a server said %.*s", (int)(length > 300 ? 300 : length), text == NULL ? body : text);
  }
  if (type == 'C' && connection->owed == 1 && connection->tag != NULL) {
    /* Of several statements in one message the last one counts. */
    bool is_last = strcmp(body, connection->tag) == 0;
    bool is_before = strcmp(body, "BEGIN") == 0 || strncmp(body, "INSERT 0 1", 10) == 0 || strncmp(body, "DELETE", 6) == 0;
    if (!is_last && !is_before) fail("a server answered %s where %s was expected", body, connection->tag);
  }
  if (type != 'Z') return;
  connection->owed--;
  if (connection->owed == 0) connection->client->owed--;
}

/* Takes every complete message; returns whether the client is owed nothing any more. */
static bool receive(struct connection *connection) {
  ssize_t count = recv(connection->fd, connection->in + connection->held, READ_MAX - connection->held, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count <= 0) fail("a server closed its connection");
  size_t have = connection->held + (size_t)count, at = 0;
  bool was_owed = connection->client->owed > 0;
  while (have - at >= 5) {
    uint32_t length;
    memcpy(&length, connection->in + at + 1, 4);
    length = ntohl(length);
    if (length > READ_MAX - 1) fail("a message of %u bytes came", length);
    if (have - at < length + 1) break;
    take(connection, connection->in[at], connection->in + at + 5, length - 4);
    at += length + 1;
  }
  connection->held = have - at;
  memmove(connection->in, connection->in + at, connection->held);
  return was_owed && connection->client->owed == 0;
}

static void take_decisions(void) {
  eventfd_t told;
  eventfd_read(decided_fd, &told);
  pthread_mutex_lock(&decision_lock);
  struct client *batch = decided;
  decided = NULL;
  pthread_mutex_unlock(&decision_lock);
  while (batch != NULL) {
    struct client *next = batch->next;
    advance(batch);
    batch = next;
  }
}

static void wait_for_events(void) {
  struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(poll_fd, events, EVENTS_MAX, -1);
  if (count < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
  for (int i = 0; i < count; i++) {
    struct connection *connection = events[i].data.ptr;
    if (connection == NULL) take_decisions();
    else if (receive(connection)) advance(connection->client);
  }
}

/* --- orders --- */

static double cpu_us(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void run(enum way chosen, double seconds) {
  way = chosen;
  latencies_count = 0;
  double cpu_before = cpu_us(), began = now_us();
  until_us = began + seconds * 1e6;
  active = clients_count;
  for (int i = 0; i < clients_count; i++) start(&clients[i]);
  while (active > 0) wait_for_events();
  printf("%zu %.0f %.0f\n", latencies_count, now_us() - began, cpu_us() - cpu_before);
  for (size_t i = 0; i < latencies_count; i++) printf("%u\n", latencies[i]);
  fflush(stdout);
}

static void obey(void) {
  char line[128], word[32];
  double seconds;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "run %31s %lf", word, &seconds) != 2) fail("not understood: %s", line);
    enum way chosen = 0;
    while (chosen < WAYS && strcmp(word, WAY_NAMES[chosen]) != 0) chosen++;
    if (chosen == WAYS) fail("no such way: %s", word);
    run(chosen, seconds);
  }
}

/* --- logging in --- */

static void wait_for_all(struct connection *connection) {
  struct pollfd readable = {.fd = connection->fd, .events = POLLIN};
  while (connection->owed > 0) {
    poll(&readable, 1, -1);
    receive(connection);
  }
}

static void log_in(struct connection *connection, const char *user, const char *database) {
  struct message message = {0};
  add_int32(&message, 0);
  add_int32(&message, 196608);
  add_text(&message, "user");
  add_text(&message, user);
  add_text(&message, "database");
  add_text(&message, database);
  add(&message, "", 1);
  end(&message, 0);
  send_all(connection, &message, 1, NULL);
  wait_for_all(connection);
  struct message statements = {0};
  add_parse(&statements, "begin", "BEGIN");
  add_parse(&statements, "update", "UPDATE accounts SET balance = balance + $1 WHERE id = $2");
  add_sync(&statements);
  send_all(connection, &statements, 1, NULL);
  wait_for_all(connection);
}

static void open_connection(struct connection *connection, struct client *client, const char *user, int port,
                            const char *database) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int yes = 1;
  connection->client = client;
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
    fail("port %d: %s", port, strerror(errno));
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  log_in(connection, user, database);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, connection->fd, &event);
}

static void read_accounts(const char *path) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;
  if (file == NULL) fail("%s: %s", path, strerror(errno));
  while (getline(&line, &room, file) > 0 && shards < SHARDS_MAX) {
    long *ids = malloc((strlen(line) / 2 + 1) * sizeof *ids);
    int count = 0;
    char *rest;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest))
      ids[count++] = atol(word);
    if (count == 0) fail("a shard has no accounts");
    accounts[shards] = ids;
    accounts_count[shards++] = count;
  }
  free(line);
  fclose(file);
}

static void open_clients(const char *user, char *const *servers) {
  clients = calloc((size_t)clients_count, sizeof *clients);
  for (int i = 0; i < clients_count; i++) {
    clients[i].number = i;
    clients[i].connections = calloc((size_t)connections_each, sizeof(struct connection));
    for (int j = 0; j < connections_each; j++)
      open_connection(&clients[i].connections[j], &clients[i], user, atoi(servers[2 * j]), servers[2 * j + 1]);
  }
}

int main(int count, char **words) {
  if (count < 8 || count % 2 != 0) fail("see the head of commitClient.c for how to call it");
  clients_count = atoi(words[1]);
  name = words[4];
  decision_fd = open(words[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (decision_fd < 0) fail("%s: %s", words[3], strerror(errno));
  read_accounts(words[5]);
  connections_each = (count - 6) / 2;
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  decided_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, decided_fd, &event);
  open_clients(words[2], words + 6);
  pthread_t flusher;
  if (pthread_create(&flusher, NULL, flush_decisions, NULL) != 0) fail("no thread can be started");
  printf("ready\n");
  fflush(stdout);
  obey();
  return 0;
}
