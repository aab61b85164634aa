-- Places orders with wrk and prints what happened as one JSON object on the last line.
--
--   wrk … -s orders.lua URL -- BODY [KEY_PREFIX]
--
-- With KEY_PREFIX every order carries an Idempotency-Key of its own. Use one wrk thread.

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

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
   io.write(string.format(
      '{"answers": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, '
         .. '"refused": %d, "connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
