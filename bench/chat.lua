-- A chat request of 996 bytes, and a report of the run as one line of JSON (times in microseconds).
local head = '{"model":"' .. os.getenv("BENCH_MODEL") .. '","stream":' .. os.getenv("BENCH_STREAM")
    .. ',"messages":[{"role":"user","content":"'
local tail = '"}]}'
local words = "please read this paragraph and say in plain words what it means "
local text = string.sub(string.rep(words, 20), 1, 996 - #head - #tail)

wrk.method = "POST"
wrk.body = head .. text .. tail
wrk.headers["content-type"] = "application/json"
wrk.headers["accept"] = "application/json"
wrk.headers["user-agent"] = "bench/1.0"
local key = os.getenv("BENCH_KEY")
if key then wrk.headers["authorization"] = "Bearer " .. key end

function done(summary, latency, requests)
    local failed = summary.errors.connect + summary.errors.read + summary.errors.write
        + summary.errors.status + summary.errors.timeout
    io.write(string.format(
        'RESULT {"requests": %d, "duration": %d, "p50": %d, "p99": %d, "failed": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
