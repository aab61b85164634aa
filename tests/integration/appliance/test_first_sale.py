"""The calls that a newcomer makes first."""

from box import BUILD
from box import run_command


def test_a_sale_and_its_cancellation_move_the_stock(box):
    product = box.inventory("POST", "/products", '{"product_name": "iPhone", "stock": 50}')
    assert (product.status, product.json["stock"]) == (201, 50)
    assert product.headers["Location"] == "/products/1"
    sale = box.orders("POST", "/orders", '{"user_id": 1, "product_id": 1, "quantity": 1}')
    assert (sale.status, sale.json["id"], sale.json["status"]) == (201, 1, "created")
    assert sale.headers["Location"] == "/orders/1"
    assert box.stock() == 49
    cancelled = box.orders("POST", "/orders/1/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert box.stock() == 50
    assert box.orders("POST", "/orders/1/cancel").status == 409
    assert box.stock() == 50


def test_the_chain_verifies_while_the_box_sells(box):
    box.add_product(stock=10)
    box.sell()
    verified = run_command("verify", "--data-dir", box.data_dir)
    assert verified.returncode == 0, verified
    assert verified.stdout.startswith("sound: 2 events, sequence 1 to 2, head ")


def test_the_binary_is_where_the_readme_says():
    assert (BUILD / "appliance").is_file()
