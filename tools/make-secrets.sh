#!/bin/sh
# Makes the passwords of the central stack, each in a file, in the folder that it is given; what is
# there stays. Only the folder itself is closed to others: containers see parts of it, under users of
# their own. A box's name follows the folder; its broker login comes with the broker's definitions.
# usage: tools/make-secrets.sh FOLDER BOX
set -eu
LENGTH_BYTES=24 # 32 characters of base64

folder=${1:?usage: make-secrets.sh FOLDER BOX}
box=${2:?usage: make-secrets.sh FOLDER BOX}
case $box in
*[!A-Za-z0-9._-]*)
    echo "make-secrets: a box's name is letters, digits, \"-\", \"_\" and \".\"" >&2
    exit 2
    ;;
esac
umask 022
mkdir -p "$folder"
chmod 700 "$folder"

# Written beside and renamed: an interrupted run leaves no half of a secret.
put() {
    mkdir -p "$(dirname "$folder/$1")"
    cat >"$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

make_password() {
    [ -s "$folder/$1" ] || head -c "$LENGTH_BYTES" /dev/urandom | base64 | tr '+/' '-_' | put "$1"
}

user() {
    printf '{"name": "%s", "password": "%s", "tags": "%s"}' "$1" "$(cat "$folder/$2/amqp_password")" "$3"
}

permission() {
    printf '{"user": "%s", "vhost": "/", "configure": "%s", "write": "%s", "read": "%s"}' "$@"
}

# Who may do what on the broker. A consumer declares nothing, reads its own queue, and writes dead
# letters; a box only publishes, and only events; topology makes exchanges, queues and bindings. Who
# puts messages into the dead letters or takes them out again keeps their senders' names (impersonator).
definitions() {
    ours='^(order[.](events|dlx|failed)|(inventory|notification)[.]order[.]queue)$'
    cat <<EOF
{
  "vhosts": [{"name": "/"}],
  "users": [
    $(user admin admin administrator,impersonator),
    $(user topology topology ""),
    $(user inventory inventory impersonator),
    $(user notification notification impersonator),
    $(user "box-$box" box "")
  ],
  "permissions": [
    $(permission admin '.*' '.*' '.*'),
    $(permission topology "$ours" "$ours" "$ours"),
    $(permission inventory '^$' '^order[.]dlx$' '^inventory[.]order[.]queue$'),
    $(permission notification '^$' '^order[.]dlx$' '^notification[.]order[.]queue$'),
    $(permission "box-$box" '^$' '^order[.](events|dlx)$' '^$')
  ],
  "topic_permissions": [
    {"user": "box-$box", "vhost": "/", "exchange": "order.events",
     "write": "^(order[.](created|cancelled)|product[.](created|updated)|stock[.]adjusted)$", "read": "^$"}
  ]
}
EOF
}

for name in postgres migrator inventory notification box; do
    make_password "$name/postgres_password"
done
for name in admin topology inventory notification box; do
    make_password "$name/amqp_password"
done
make_password notification/webhook_secret
make_password grafana/admin_password
definitions | put rabbitmq/definitions.json
