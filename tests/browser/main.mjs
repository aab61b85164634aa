// All browser tests in one process, one after the other, with one Chromium.
import './test_till.mjs';
import './test_stock.mjs';
import './test_outbox.mjs';
import './test_box.mjs';
import './test_access.mjs';
import './test_looks.mjs';
import './test_speed.mjs';
