/** HBA and ident files: what is understood, what is refused with its place, and which line decides. */
import assert from "node:assert/strict";
import { dirname, resolve } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Caller, findRule, type OwnAddress } from "../../../src/proxy/auth/hbaMatch.ts";
import { readHbaRules } from "../../../src/proxy/auth/hbaRules.ts";
import { mayBe, readIdentRules } from "../../../src/proxy/auth/identMap.ts";
import { type Files, readRuleFile } from "../../../src/proxy/auth/ruleFile.ts";

/** Files that exist nowhere else. */
const filesOf = (texts: Readonly<Record<string, string>>): Files => ({
  read: (path) => texts[path] ?? null,
  list: (path) => {
    const inside = Object.keys(texts).filter((name) => dirname(name) === path);
    return inside.length === 0 ? null : inside.map((name) => name.slice(path.length + 1));
  },
  resolve: (from, path) => resolve(dirname(from), path),
});

function parse(text: string, others: Readonly<Record<string, string>> = {}) {
  const read = readRuleFile("/etc/hba", filesOf({ "/etc/hba": text, ...others }));
  const { rules, problems } = readHbaRules(read.lines);
  const all = [...read.problems, ...problems].map(({ file, line, says }) => `${file}:${line}: ${says}`);
  return { rules, problems: all };
}

const OWN: readonly OwnAddress[] = [
  { address: "127.0.0.1", netmask: "255.0.0.0" },
  { address: "10.1.2.3", netmask: "255.255.0.0" },
  { address: "fd00::3", netmask: "ffff:ffff:ffff:ffff::" },
];

const TCP: Caller = { kind: "tcp", address: "10.0.0.7", hasTls: false, user: "ann", database: "bank" };
const UNIX: Caller = { ...TCP, kind: "unix", address: "" };

/** The method of the rule that decides about a client of TCP with `changes`. */
function decided(text: string, changes: Partial<Caller> = {}): string | null {
  const { rules, problems } = parse(text);
  assert.deepEqual(problems, []);
  return findRule(rules, { ...TCP, ...changes }, () => OWN)?.method ?? null;
}

describe("a line of an HBA file fits by", () => {
  const cases: readonly [what: string, text: string, changes: Partial<Caller>, method: string | null][] = [
    ["all", "host all all all trust", {}, "trust"],
    ["nothing, where there is no line", "# nothing\n\n", {}, null],
    ["database", "host shop all all trust\nhost bank all all md5", {}, "md5"],
    ["one of several databases", "host shop, bank,other all all trust", {}, "trust"],
    ["a database with the user's name", "host sameuser all all trust", { database: "ann" }, "trust"],
    ["sameuser only then", "host sameuser all all trust", {}, null],
    ["a database by expression", "host /^ba.k$ all all trust", {}, "trust"],
    ["an expression that does not fit", "host /^nk all all trust", {}, null],
    ["a quoted expression as PostgreSQL has it", 'host "/^ba" all all trust', {}, "trust"],
    ["replication never", "host replication all all trust", { database: "replication" }, null],
    ["a quoted keyword as a name", 'host "all" all all trust', {}, null],
    ["a quoted keyword of that name", 'host "all" all all trust', { database: "all" }, "trust"],
    [
      "a quoted replication as a name",
      'host "replication" all all trust',
      { database: "replication" },
      "trust",
    ],
    [
      "a name with quote, blank and comma",
      'host "a ""b"", c" all all trust',
      { database: 'a "b", c' },
      "trust",
    ],
    ["a quoted hash", 'host "a#b" all all trust # no', { database: "a#b" }, "trust"],
    ["user", "host all bob all trust\nhost all ann all md5", {}, "md5"],
    ["a user by expression", "host all /n+$ all trust", {}, "trust"],
    ["a quoted plus as a name", 'host all "+ann" all trust', { user: "+ann" }, "trust"],
    ["the first line, whatever comes later", "host all all all reject\nhost all all all trust", {}, "reject"],
    ["a line over two", "host all \\\n  all all trust", {}, "trust"],
    ["a line with a carriage return", "host all all all trust\r\n", {}, "trust"],
    ["local, not over TCP", "local all all trust", {}, null],
    ["local", "host all all all md5\nlocal all all trust", UNIX, "trust"],
    ["hostssl, not without TLS", "hostssl all all all trust", {}, null],
    ["hostssl", "hostssl all all all trust", { hasTls: true }, "trust"],
    ["hostnossl", "hostnossl all all all trust", {}, "trust"],
    ["hostnossl, not with TLS", "hostnossl all all all trust", { hasTls: true }, null],
    ["hostgssenc never", "hostgssenc all all all trust", {}, null],
    ["hostnogssenc", "hostnogssenc all all all trust", { hasTls: true }, "trust"],
    ["ident on a Unix socket, which is peer", "local all all ident", UNIX, "peer"],
  ];
  for (const [what, text, changes, method] of cases) {
    it(what, () => assert.equal(decided(text, changes), method));
  }
});

describe("an address fits", () => {
  const cases: readonly [written: string, address: string, fits: boolean][] = [
    ["10.0.0.0/8", "10.0.0.7", true],
    ["10.0.0.0/8", "11.0.0.7", false],
    ["10.0.0.7/32", "10.0.0.7", true],
    ["10.0.0.7/32", "10.0.0.6", false],
    ["10.0.0.99/24", "10.0.0.7", true],
    ["0.0.0.0/0", "203.0.113.9", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["::/0", "10.0.0.7", false],
    ["::0/0", "2001:db8::1", true],
    ["10.0.0.0 255.255.255.0", "10.0.0.7", true],
    ["10.0.0.0 255.255.255.0", "10.0.1.7", false],
    ["2001:db8::/33", "2001:db8:7fff::1", true],
    ["2001:db8::/33", "2001:db8:8000::1", false],
    ["fe80::1/128", "fe80::1%eth0", true],
    ["10.0.0.0/8", "::ffff:10.0.0.7", true],
    ["::ffff:10.0.0.0/104", "10.0.0.7", true],
    ["::ffff:10.0.0.0/104", "11.0.0.7", false],
    ["samehost", "10.1.2.3", true],
    ["samehost", "10.1.2.4", false],
    ["samehost", "::ffff:10.1.2.3", true],
    ["samenet", "10.1.9.9", true],
    ["samenet", "10.2.2.3", false],
    ["samenet", "fd00::99", true],
    ["samenet", "fd01::99", false],
    ["all", "2001:db8::1", true],
    ["all", "", false],
    ["0.0.0.0/0", "", false],
  ];
  for (const [written, address, fits] of cases) {
    it(`${written}: ${address || "none"} ${fits ? "does" : "does not"}`, () => {
      assert.equal(decided(`host all all ${written} trust`, { address }), fits ? "trust" : null);
    });
  }

  it("exactly where PostgreSQL's arithmetic says, for any address and prefix", () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const four = fc.tuple(octet, octet, octet, octet);
    const number = (parts: readonly number[]): number => parts.reduce((sum, part) => sum * 256 + part, 0);
    fc.assert(
      fc.property(four, four, fc.integer({ min: 0, max: 32 }), (net, own, bits) => {
        const size = 2 ** (32 - bits);
        const isIn = Math.floor(number(net) / size) === Math.floor(number(own) / size);
        const found = decided(`host all all ${net.join(".")}/${bits} trust`, { address: own.join(".") });
        assert.equal(found, isIn ? "trust" : null);
      }),
    );
  });
});

describe("what is wrong with an HBA file", () => {
  it("is said at once, each with its line", () => {
    const { problems } = parse(
      [
        "hosts all all all trust",
        "host all all all trust",
        "host samerole all all trust",
        "host all +staff all trust",
        "host all all db.example.com trust",
        "host all all 10.0.0.0/33 trust",
        "host all all 10.0.0.0 trust",
        "host all all 10.0.0.0 ffff:: trust",
        "host all all 10.0.0.300/8 trust",
        "host all all all ldap ldapserver=x",
        "host all all all kerberos",
        "host all all all peer",
        "host all all all cert",
        "host all all all md5 clientcert=verify-ca",
        "hostssl all all all md5 clientcert=1",
        "host all all all md5 map=m",
        "hostssl all all all cert clientname=DN",
        "host all all all trust nonsense",
        "host /( all all trust",
        'host "all all all trust',
        "host all all",
        "local all all",
        "host all all all,all trust",
        "include",
        "include /nowhere",
        "host @/nowhere all all trust",
      ].join("\n"),
    );
    const said = problems.toSorted((a, b) => Number(a.split(":")[1]) - Number(b.split(":")[1]));
    assert.deepEqual(said, [
      '/etc/hba:1: invalid connection type "hosts"',
      '/etc/hba:3: "samerole" is not supported: pgxa does not know who is a member of a role',
      '/etc/hba:4: "+staff" is not supported: pgxa does not know who is a member of a role',
      '/etc/hba:5: host names are not supported: "db.example.com"; give its address',
      '/etc/hba:6: invalid CIDR mask in address "10.0.0.0/33"',
      '/etc/hba:7: invalid IP mask "trust"; give the address in CIDR notation, or a netmask after it',
      "/etc/hba:8: IP address and mask do not match",
      '/etc/hba:9: invalid IP address "10.0.0.300/8"',
      '/etc/hba:10: the authentication method "ldap" is not supported',
      '/etc/hba:11: invalid authentication method "kerberos"',
      "/etc/hba:12: peer authentication is only supported on local sockets",
      "/etc/hba:13: cert authentication is only supported on hostssl connections",
      "/etc/hba:14: clientcert can only be configured for hostssl rows",
      '/etc/hba:15: invalid value for clientcert: "1"',
      "/etc/hba:16: the authentication option map is only for peer, cert and clientcert=verify-full",
      "/etc/hba:17: the authentication option clientname is not supported",
      "/etc/hba:18: authentication option not in name=value format: nonsense",
      '/etc/hba:19: invalid regular expression "("',
      "/etc/hba:20: a quote is not closed",
      "/etc/hba:21: end-of-line before IP address specification",
      "/etc/hba:22: end-of-line before authentication method specification",
      "/etc/hba:23: multiple values specified for IP address",
      "/etc/hba:24: include takes one name",
      "/etc/hba:25: cannot read the file /nowhere",
      "/etc/hba:26: cannot read the file /nowhere",
    ]);
  });

  it("never is that a file makes the parser throw", () => {
    const piece = fc.constantFrom(
      "host",
      "local",
      "all",
      '"',
      ",",
      " ",
      "\\",
      "\n",
      "#",
      "/",
      "@x",
      "10.0.0.0/8",
      "md5",
      "=",
      "include",
      "é",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        parse(pieces.join(""));
      }),
    );
  });
});

describe("a file includes", () => {
  it("others, and names from files, in their order", () => {
    const { rules, problems } = parse(
      "include more\ninclude_if_exists gone\ninclude_dir conf.d\nhost @names all all md5",
      {
        "/etc/more": "host first all all trust",
        "/etc/conf.d/b.conf": "host third all all trust",
        "/etc/conf.d/a.conf": "host second all all trust",
        "/etc/conf.d/.c.conf": "host hidden all all trust",
        "/etc/conf.d/d.txt": "host other all all trust",
        "/etc/names": "one, two\n@deeper",
        "/etc/deeper": '"all"',
      },
    );
    assert.deepEqual(problems, []);
    const names = rules.map(({ databases }) =>
      databases.map((matcher) => (matcher.kind === "name" ? matcher.name : matcher.kind)).join("+"),
    );
    assert.deepEqual(names, ["first", "second", "third", "one+two+all"]);
  });

  it("itself only so deep", () => {
    assert.deepEqual(parse("include hba").problems, ["/etc/hba:1: files are included more than 10 deep"]);
    const { problems } = parse("host @again all all trust", { "/etc/again": "@again" });
    assert.deepEqual(problems, ["/etc/again:1: cannot read the file /etc/again"]);
  });

  it("and names the file of what is wrong", () => {
    const { problems } = parse("include more", { "/etc/more": "\nhost all all all nothing" });
    assert.deepEqual(problems, ['/etc/more:2: invalid authentication method "nothing"']);
  });
});

describe("an ident map", () => {
  const TEXT = [
    "staff alice boss",
    "staff /^(.*)@example\\.com$ \\1",
    'staff root "all"',
    "staff admin all",
    "staff guest /^guest_",
    "other bob bob",
  ].join("\n");
  const { rules, problems } = readIdentRules(readRuleFile("/m", filesOf({ "/m": TEXT })).lines);

  const cases: readonly [map: string | null, system: string, user: string, may: boolean][] = [
    ["staff", "alice", "boss", true],
    ["staff", "alice", "alice", false],
    ["staff", "bob@example.com", "bob", true],
    ["staff", "bob@example.com", "ann", false],
    ["staff", "bob@example.org", "bob", false],
    ["staff", "root", "anybody", false],
    ["staff", "root", "all", true],
    ["staff", "admin", "anybody", true],
    ["staff", "guest", "guest_7", true],
    ["staff", "guest", "host", false],
    ["other", "bob", "bob", true],
    ["other", "alice", "boss", false],
    ["none", "bob", "bob", false],
    [null, "bob", "bob", true],
    [null, "bob", "ann", false],
  ];
  for (const [map, system, user, may] of cases) {
    it(`${map ?? "that is none"} lets ${system} ${may ? "" : "not "}be ${user}`, () => {
      assert.deepEqual(problems, []);
      assert.equal(mayBe(rules, map, system, user), may);
    });
  }

  it("puts what was found in as it is", () => {
    const read = readIdentRules(readRuleFile("/m", filesOf({ "/m": "m /^(.*)@x$ a\\1" })).lines);
    assert.equal(mayBe(read.rules, "m", "$&@x", "a$&"), true);
  });

  it("that is wrong is refused with its line", () => {
    const wrong = "a b\na b c d\na /( c\na b\\1 c\\1\na b +c\na b,c d";
    const said = readIdentRules(readRuleFile("/m", filesOf({ "/m": wrong })).lines).problems;
    assert.deepEqual(
      said.map(({ line }) => line),
      [1, 2, 3, 4, 5, 6],
    );
  });
});
