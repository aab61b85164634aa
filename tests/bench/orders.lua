-- Places orders with wrk and prints what happened as one JSON object on the last line.
--
--   wrk … -s orders.lua URL -- BODY [KEY_PREFIX]
--
-- With KEY_PREFIX every order carries an Idempotency-Key of its own. Use one wrk thread.

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local thread

function setup(the_only_thread)
    thread = the_only_thread
end

not_created = 0

function response(status)
    if status ~= 201 then
        not_created = not_created + 1
    end
end

function init(arguments)
    wrk.body = arguments[1]
    local prefix = arguments[2]
    if prefix == nil then
        return
    end
    local count = 0
    function request()
        count = count + 1
        wrk.headers["Idempotency-Key"] = prefix .. count
        return wrk.format()
    end
end

function done(summary, latency)
    local errors = summary.errors
    local fields = {
        answers = summary.requests,
        duration_us = summary.duration,
        p50_us = latency:percentile(50),
        p99_us = latency:percentile(99),
        max_us = latency.max,
        not_created = thread:get("not_created"),
        connect_errors = errors.connect,
        read_errors = errors.read,
        write_errors = errors.write,
        timeouts = errors.timeout,
    }
    local parts = {}
    for name, value in pairs(fields) do
        parts[#parts + 1] = string.format('"%s": %d', name, value)
    end
    io.write("{", table.concat(parts, ", "), "}\n")
end
