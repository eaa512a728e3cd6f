"""Logs in with each user and password of its arguments, after the port, and prints a line for each."""

import sys

import psycopg2

port, *rest = sys.argv[1:]
for user, password in zip(rest[::2], rest[1::2]):
    try:
        connection = psycopg2.connect(
            host="127.0.0.1", port=port, dbname="bank", user=user, password=password, sslmode="disable"
        )
        connection.cursor().execute("SELECT 1")
        connection.close()
        print("in")
    except psycopg2.Error as error:
        print(str(error).strip().replace("\n", " "))
