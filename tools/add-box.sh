#!/bin/sh
# Gives a box its logins at head office. Installed it is tillbox-add-box.
set -eu

usage() {
    cat <<'END'
Usage: tillbox-add-box DEVICE_ID FOLDER

Gives a box its logins at head office: one on PostgreSQL that opens its own rows, one on RabbitMQ that
may publish events and nothing else. A box that has them gets new passwords. They are written into two
files in FOLDER, for the box.

In a folder with a docker-compose.yml it talks to its containers, elsewhere to the servers of this
machine, as root.

Options:
  --help     print this
  --version  print the version

Environment:
  PSQL         a command that runs psql as the owner of head office's tables
               (default: runuser -u postgres -- psql tillbox)
  RABBITMQCTL  a command that runs rabbitmqctl
  VHOST        the virtual host (default /)

Examples:
  tillbox-add-box till-1 /root/till-1
END
}

case ${1:---help} in
--help) usage && exit ;;
--version) echo "tillbox-add-box @VERSION@" && exit ;;
esac
if [ -e docker-compose.yml ]; then
    PSQL=${PSQL:-docker compose exec -T postgres psql -U postgres tillbox}
    RABBITMQCTL=${RABBITMQCTL:-docker compose exec -T rabbitmq rabbitmqctl}
fi
PSQL=${PSQL:-runuser -u postgres -- psql tillbox}
RABBITMQCTL=${RABBITMQCTL:-rabbitmqctl}
VHOST=${VHOST:-/}
EVENTS='^(order[.](created|cancelled)|product[.](created|updated)|stock[.]adjusted)$'

device=$1
folder=${2:?where shall the passwords go? tillbox-add-box DEVICE_ID FOLDER}
case $device in
*[!A-Za-z0-9._-]*)
    echo 'add-box: a device_id is letters, digits, "-", "_" and "."' >&2
    exit 2
    ;;
esac
login=box-$device
umask 077
mkdir -p "$folder"

make_password() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$folder/$1"
}

# Passwords go through standard input: other users can read arguments.
make_password postgres_password
printf "SELECT tillbox_add_box('%s', '%s');\n" "$device" "$(cat "$folder/postgres_password")" |
    $PSQL --no-psqlrc --quiet --no-align --tuples-only -v ON_ERROR_STOP=1 -f - >/dev/null

make_password amqp_password
if $RABBITMQCTL -q list_users </dev/null | cut -f 1 | grep -qxF "$login"; then
    $RABBITMQCTL -q change_password "$login" <"$folder/amqp_password" >/dev/null
else
    $RABBITMQCTL -q add_user "$login" <"$folder/amqp_password" >/dev/null
fi
$RABBITMQCTL -q set_permissions -p "$VHOST" "$login" '^$' '^order[.](events|dlx)$' '^$' </dev/null
$RABBITMQCTL -q set_topic_permissions -p "$VHOST" "$login" order.events "$EVENTS" '^$' </dev/null

cat <<EOF
Copy $folder/postgres_password and $folder/amqp_password to the box, as postgres-password and
amqp-password in /etc/tillbox/credentials/bridge, and in its bridge.conf set
  postgres_url = postgresql://$login@HEAD-OFFICE/tillbox?sslmode=verify-full
  amqp_url = amqps://$login@HEAD-OFFICE
EOF
