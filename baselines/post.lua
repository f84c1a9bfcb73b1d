-- wrk script: POST a file's bytes. BODY, CONTENT_TYPE, ACCEPT and, if wanted, HEADER_LENGTH (of the Open
-- Inference Protocol's binary extension) come from the environment.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE")
wrk.headers["Accept"] = os.getenv("ACCEPT")
if os.getenv("HEADER_LENGTH") then
  wrk.headers["Inference-Header-Content-Length"] = os.getenv("HEADER_LENGTH")
end
file:close()

done = function(summary, latency)
  io.write(string.format('RESULT {"requests":%d,"seconds":%.4f,"errors":%d,"p50_ms":%.4f,"p99_ms":%.4f,"max_ms":%.4f,"sent_body":%d,"received":%d}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3, #wrk.body, summary.bytes))
end
