#!/bin/bash
# Starts the appliance and the bridge on ./var and says how to talk to them. Further arguments go to
# the appliance; the bridge takes its settings from variables, TILLBOX_POSTGRES_URL and so on.
set -u
cd "$(dirname "$0")/.." || exit

orders=${TILLBOX_ORDERS_LISTEN:-127.0.0.1:8081}
inventory=${TILLBOX_INVENTORY_LISTEN:-127.0.0.1:8082}
arguments=("$@")
for ((i = 0; i < ${#arguments[@]}; i++)); do
    case ${arguments[i]} in
    --orders-listen) orders=${arguments[i + 1]:-} ;;
    --orders-listen=*) orders=${arguments[i]#*=} ;;
    --inventory-listen) inventory=${arguments[i + 1]:-} ;;
    --inventory-listen=*) inventory=${arguments[i]#*=} ;;
    esac
done

build/appliance serve --data-dir var "$@" &
appliance=$!
build/bridge run --data-dir var &
bridge=$!
trap 'kill -TERM $appliance $bridge 2>/dev/null' TERM INT

# Open means: something accepts connections there.
is_open() {
    (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null
}

for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$appliance" 2>/dev/null || break
    if is_open "$orders" && is_open "$inventory"; then
        cat <<EOF

Tillbox is running; its journal is in ./var. Ctrl-C stops it. Where every sale is on its way to
head office: build/bridge status --data-dir var

  till       http://$orders/
  orders     http://$orders/orders
  inventory  http://$inventory/products
  status     http://$orders/status

Try, in another terminal:

curl --location --request POST 'http://$inventory/products' \\
  --header 'Content-Type: application/json' --data-raw '{"product_name": "iPhone", "stock": 50}'
curl -X POST http://$orders/orders -H "Content-Type: application/json" \\
  -d '{"user_id": 1, "product_id": 1, "quantity": 1}'
curl -X POST http://$orders/orders/1/cancel

EOF
        break
    fi
    sleep 0.1
done

# The first wait ends with the signal, the second with the appliance.
wait "$appliance"
code=$?
if kill -0 "$appliance" 2>/dev/null; then
    wait "$appliance"
    code=$?
fi
kill -TERM "$bridge" 2>/dev/null
wait "$bridge"
exit "$code"
