# Make a PostgreSQL server in a folder, and hold it for as long as somebody holds the other end of our input.
# $1: the folder, with a file `password` in it; $2: where the binaries are; $3: the superuser; $4: the port.
# It is gone in the end anyway, so nothing is synced.

initdb="--no-sync --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256"
settings="-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200"
unsafe="-c fsync=off -c synchronous_commit=off -c full_page_writes=off"

if "$2/initdb" --pgdata="$1/data" --pwfile="$1/password" --username="$3" $initdb >"$1/log" 2>&1 &&
    "$2/pg_ctl" start -D "$1/data" -l "$1/log" -o "-p $4 $settings $unsafe" >/dev/null 2>&1; then
    echo started
else
    echo failed
fi
read -r _
"$2/pg_ctl" stop -D "$1/data" -m immediate >/dev/null 2>&1
rm -rf "$1"
