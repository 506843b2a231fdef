// Every call of the API once, from Node.js, with nothing but the proto files.
//
//   node smoke.mjs PROTO_FOLDER LEADER MEMBER
//
// LEADER is the address of the leader, MEMBER the id of a member that follows. It tells one
// story, in which each call has what it needs; an answer that is not as told ends it. The
// last line of standard output is an object: the calls that were made, in order.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [protos, leader, follower] = process.argv.slice(2);
const CALL_MS = 20_000;
// BLAKE2b of 32 bytes, which Node.js does not have.
const CHUNK = Buffer.from("chunk");
const CHUNK_HASH = Buffer.from(
  "8ad4bdb6a2a940baa8cbed1044306e7d470ad6a62af88c5bbbd9dd56d2773a9e",
  "hex",
);

const files = readdirSync(join(protos, "raftstate/v1")).filter((one) => one.endsWith("_service.proto"));
const loaded = loader.loadSync(
  files.map((one) => `raftstate/v1/${one}`),
  { includeDirs: [protos], keepCase: true, longs: String, enums: String, bytes: Buffer, defaults: true },
);
const api = grpc.loadPackageDefinition(loaded).raftstate.v1;
const credentials = grpc.credentials.createInsecure();
const made = [];
const clients = new Map();

function method(name) {
  const [service, call] = name.split(".");
  if (!clients.has(service)) clients.set(service, new api[service](leader, credentials));
  made.push(name);
  const client = clients.get(service);
  assert(client[call], `${name} is not in the proto files`);
  return client[call].bind(client);
}

const within = () => ({ deadline: Date.now() + CALL_MS });

/** A call with one answer. */
function ask(name, request = {}) {
  const call = method(name);
  return new Promise((answered, failed) => {
    call(request, within(), (error, answer) =>
      error ? failed(new Error(`${name}: ${error.message}`, { cause: error })) : answered(answer),
    );
  });
}

/** A call that is refused: the code, and the reason that the store gives in words. */
async function refused(name, request, code) {
  await assert.rejects(ask(name, request), (error) => {
    assert.equal(error.cause.code, code, error.message);
    assert(error.cause.metadata.get("grpc-status-details-bin").length, `${name} gives no details`);
    return true;
  });
}

/** The answers of a call that streams; `enough` of them, or all. */
function listen(stream, name, enough = Infinity) {
  return new Promise((heard, failed) => {
    const answers = [];
    const over = () => heard(answers);
    stream.on("data", (answer) => {
      answers.push(answer);
      if (answers.length >= enough) {
        over();
        stream.cancel();
      }
    });
    stream.on("end", over);
    stream.on("error", (error) => (answers.length >= enough ? over() : failed(new Error(`${name}: ${error.message}`))));
  });
}

/** A call that answers with a stream. */
async function read(name, request = {}, enough = Infinity) {
  const answers = await listen(method(name)(request, within()), name, enough);
  assert(answers.length, `${name} answers nothing`);
  return answers;
}

/** One question on a stream of questions, and its answer. */
async function exchange(name, request) {
  const stream = method(name)(within());
  stream.write(request);
  const [answer] = await listen(stream, name, 1);
  assert(answer, `${name} does not answer`);
  return answer;
}

/** A session, whose request ids count its mutations. */
async function session(session_id) {
  const { session: opened } = await ask("SessionService.OpenSession", { session_id, ttl_ms: 60_000, client: "node" });
  let sequence = 0;
  return () => {
    sequence += 1;
    return { session_id, sequence, lowest_unfinished: sequence, opened_revision: opened.opened_revision };
  };
}

const next = await session("node");
const judge = await session("judge");
const write = (name, request = {}) => ask(name, { request_id: next(), ...request });

// --- sessions and agents ---

// Open to the end: a session whose stream breaks is over soon after.
const alive = method("SessionService.KeepAlive")();
const kept = new Promise((heard, failed) => alive.once("data", heard).once("error", failed));
alive.write({ session_id: "node", nonce: 5 });
assert.equal((await kept).nonce, "5");
await session("short");
await ask("SessionService.CloseSession", { session_id: "short" });
const { sessions } = await ask("SessionService.ListSessions");
assert.deepEqual(sessions.map((one) => one.session_id).sort(), ["judge", "node"]);

for (const agent_id of ["a", "back", "there", "idle"]) await write("AgentService.CreateAgent", { agent_id });
async function own(agent_id) {
  return (await write("AgentService.AcquireOwnership", { agent_id, holder: "node", ttl_ms: 60_000 })).ownership.fence;
}
const fence = await own("a");
const a = { agent_id: "a", fence };
await exchange("AgentService.RenewOwnership", a);
const idle = await own("idle");
await write("AgentService.ReleaseOwnership", { agent_id: "idle", fence: idle });
await refused("StepService.CommitStep", { request_id: next(), agent_id: "idle", fence: idle }, grpc.status.FAILED_PRECONDITION);
await write("AgentService.UpdateAgent", { agent_id: "a", labels: [{ name: "language", value: "js" }] });
assert.equal((await ask("AgentService.GetAgent", { agent_id: "a" })).agent.labels[0].value, "js");
assert.equal((await ask("AgentService.ListAgents")).agents.length, 4);
const fences = [{ agent_id: "a", fence }, { agent_id: "idle", fence: idle }];
assert.deepEqual((await ask("AgentService.CheckFence", { fences })).current, [true, false]);
await write("AgentService.HaltAgent", { agent_id: "idle", reason: "why" });
await write("AgentService.ResumeAgent", { agent_id: "idle" });
await write("AgentService.RetireAgent", { agent_id: "idle" });

// --- steps, events and checkpoints ---

const JSON_TYPE = "application/json";
const checkpoint = (data) => ({ data: Buffer.from(data), content_type: JSON_TYPE });
const event = { type: "counted", content_type: JSON_TYPE, data: Buffer.from("1") };
for (const data of ["[1]", "[2]"]) {
  await write("StepService.CommitStep", { ...a, events: [event], checkpoint: checkpoint(data) });
}
const { results: submitted } = await exchange("StepService.Submit", {
  first_nonce: 1,
  mutations: [{ put: { request_id: next(), key: Buffer.from("k"), value: Buffer.from("v") } }],
});
assert.equal(submitted[0].nonce, "1");
await write("EventService.AppendEvents", { appends: [{ stream_id: "s", events: [event, event, event] }] });
const events = (await read("EventService.ReadEvents", { stream_id: "s" })).flatMap((one) => one.events);
assert.deepEqual(events.map((one) => one.seq), ["1", "2", "3"]);
await read("EventService.ReadAll", {}, 1);
assert.equal((await ask("EventService.GetStream", { stream_id: "s" })).last_seq, "3");
await ask("EventService.VerifyChain", { stream_id: "s" });
await read("EventService.ExportAudit", { prefix: "s" });
await write("EventService.SaveProjection", { name: "p", position: 3 });
assert.equal((await ask("EventService.GetProjection", { name: "p" })).projection.position, "3");
assert.equal((await ask("EventService.ListProjections")).projections.length, 1);
await write("EventService.TruncateBefore", { stream_id: "s", before_seq: 2, projection: "p" });
await write("EventService.DeleteProjection", { name: "p" });

assert.equal((await ask("CheckpointService.MissingChunks", { agent_id: "a", hashes: [CHUNK_HASH] })).missing.length, 1);
await write("CheckpointService.PutChunk", { agent_id: "a", data: CHUNK, hash: CHUNK_HASH });
await write("CheckpointService.PutCheckpoint", {
  ...a,
  checkpoint: { chunks: [{ hash: CHUNK_HASH, size_bytes: CHUNK.length }] },
});
const parts = await read("CheckpointService.GetCheckpoint", { agent_id: "a" });
assert(parts.some((one) => CHUNK.equals(one.chunk)), "the chunk came back");
const { checkpoints } = await ask("CheckpointService.ListCheckpoints", { agent_id: "a" });
assert.equal(checkpoints.length, 3);
const first = checkpoints.find((one) => one.checkpoint_id === "1");
await write("CheckpointService.TagCheckpoint", { agent_id: "a", checkpoint_id: 1, add_tags: ["good"] });
await write("RecoveryService.PutValidator", { name: "v", description: "looks" });
await ask("CheckpointService.MarkValid", {
  request_id: judge(),
  agent_id: "a",
  checkpoint_id: 1,
  validator: "v",
  valid: true,
  content_hash: first.content_hash,
});
await ask("CheckpointService.DiffCheckpoints", { agent_id: "a", from_checkpoint_id: 1, to_checkpoint_id: 2 });
await write("CheckpointService.CopyLineage", { source_agent_id: "a", agent_id: "copy" });
await write("AgentService.ForkAgent", { source_agent_id: "a", agent_id: "fork" });
await write("CheckpointService.PutGroupCheckpoint", {
  group_id: "g",
  members: [{ agent_id: "a", fence, checkpoint: checkpoint("[3]") }],
});
assert.equal((await ask("CheckpointService.GetGroupCheckpoint", { group_id: "g" })).group.group_id, "g");
assert.equal((await ask("CheckpointService.ListGroupCheckpoints")).groups.length, 1);
await write("CheckpointService.DeleteGroupCheckpoint", { group_id: "g" });
await write("CheckpointService.PruneCheckpoints", { agent_id: "a" });

// --- effects, sagas and rollbacks ---

const effect = (effect_id, more = {}) => ({
  effect_id,
  action: "charge",
  content_type: JSON_TYPE,
  arguments: Buffer.from("1"),
  effect_class: "EFFECT_CLASS_IDEMPOTENT",
  compensation: { action: "refund", leaves_tombstone: true, attempts: 1 },
  ...more,
});
const complete = (owner, effect_id, outcome) =>
  write("EffectService.CompleteEffect", { ...owner, closing: { effect_id, outcome: `EFFECT_OUTCOME_${outcome}` } });
await write("EffectService.PrepareEffect", { ...a, effect: effect("later", { reconcile_action: "ask" }) });
await write("EffectService.DispatchEffect", { ...a, effect_id: "later" });
await complete(a, "later", "UNKNOWN");
await write("EffectService.ReconcileEffect", { ...a, effect_id: "later", found: "FOUND_DONE" });
const { effect: settled } = await ask("EffectService.GetEffect", { agent_id: "a", effect_id: "later" });
assert.equal(settled.state, "EFFECT_STATE_RECONCILED");
for (const saga_id of ["kept", "undone", "stuck"]) {
  await write("EffectService.BeginSaga", { ...a, saga_id });
  await write("EffectService.PrepareEffect", { ...a, effect: effect(saga_id, { saga_id, dispatch: true }) });
  await complete(a, saga_id, "COMMITTED");
}
assert.equal((await ask("EffectService.ListEffects", { agent_id: "a" })).effects.length, 4);
await write("EffectService.EndSaga", { ...a, saga_id: "kept" });
async function undo(saga_id, outcome) {
  await write("EffectService.AbortSaga", { ...a, saga_id, reason: "rain" });
  const claimed = await write("RollbackService.ClaimCompensations", { plan_id: `saga/${saga_id}`, holder: "node" });
  await write("RollbackService.CompleteCompensation", {
    plan_id: `saga/${saga_id}`,
    fence: claimed.claim.fence,
    position: claimed.item.position,
    outcome: `COMPENSATION_OUTCOME_${outcome}`,
  });
}
await undo("undone", "DONE");
await undo("stuck", "FAILED_FOR_GOOD");
await write("RollbackService.DecideCompensation", {
  plan_id: "saga/stuck",
  position: 1,
  decision: "DECISION_RETRY",
  decided_by: "node",
  why: "it works again",
});
assert.equal((await ask("EffectService.GetSaga", { saga_id: "undone" })).saga.reason, "rain");
assert.equal((await ask("EffectService.ListSagas")).sagas.length, 3);

const target = (agent_id) => [{ agent_id, target: { checkpoint_id: 1 } }];
async function rolled(agent_id) {
  const owner = { agent_id, fence: await own(agent_id) };
  await write("StepService.CommitStep", { ...owner, events: [event], checkpoint: checkpoint("[1]") });
  await ask("RollbackService.PlanRollback", { agents: target(agent_id) });
  return (await write("RollbackService.StartRollback", { agents: target(agent_id), reason: "why" })).rollback_id;
}
const rollback_id = await rolled("back");
assert.equal((await ask("RollbackService.GetRollback", { rollback_id })).rollback.rollback_id, rollback_id);
await write("RollbackService.FinishRollback", { rollback_id });
await write("RollbackService.AbortRollback", { rollback_id: await rolled("there"), reason: "why" });
assert.equal((await ask("RollbackService.ListRollbacks")).rollbacks.length, 2);

// --- breakers, recordings, incidents ---

const config = {
  count_window: 10,
  failure_rate: 0.5,
  slow_rate: 0.5,
  slow_call_ms: 100,
  minimum_calls: 2,
  open_ms: 2_000,
  open_max_ms: 4_000,
};
const cars = { name: "cars" };
await write("BreakerService.PutBreaker", { ...cars, config });
const { breaker } = await ask("BreakerService.GetBreaker", cars);
assert.equal((await ask("BreakerService.ListBreakers")).breakers.length, 1);
await write("BreakerService.AcquirePermit", cars);
await write("BreakerService.ReportOutcomes", { ...cars, generation: breaker.generation, calls: 3, failures: 1 });
await write("BreakerService.ForceOpen", { ...cars, reason: "why" });
await write("BreakerService.ForceClose", { ...cars, reason: "why" });
await write("BreakerService.Reset", { ...cars, reason: "why" });
await write("BreakerService.DeleteBreaker", cars);

const recording = { kind: "RECORDING_KIND_MODEL", key: "said", content_type: JSON_TYPE, data: Buffer.from("1") };
await write("ReplayService.RecordValue", { ...a, recording });
const { recordings } = await ask("ReplayService.GetRecorded", { agent_id: "a", to_step: 10 });
assert.equal(recordings.length, 1);
await ask("ReplayService.VerifyReplay", { agent_id: "a", checkpoint_id: 1, reducer: "REDUCER_APPEND" });
await ask("ReplayService.Reconstruct", { agent_id: "a" });

const { incident_id } = await write("RecoveryService.ReportSymptom", {
  symptom: "SYMPTOM_DIVERGED",
  agent_ids: ["a"],
  summary: "odd",
});
assert.equal((await ask("RecoveryService.GetIncident", { incident_id })).incident.summary, "odd");
assert((await ask("RecoveryService.ListIncidents")).incidents.length >= 1);
await write("RecoveryService.AnnotateIncident", { incident_id, by: "node", text: "seen" });
await write("RecoveryService.ResolveIncident", { incident_id, resolution: "done" });
assert.equal((await ask("RecoveryService.ListValidators")).validators.length, 1);
await ask("RecoveryService.ReportValidation", {
  request_id: judge(),
  validator: "v",
  agent_id: "a",
  checkpoint_id: 1,
  content_hash: first.content_hash,
  passed: true,
});

// --- keys, leases, watches, many reads ---

const k = Buffer.from("k");
const { lease } = await write("LeaseService.Grant", { ttl_ms: 60_000 });
const { lease_id } = lease;
const put = await write("KvService.Put", { key: k, value: Buffer.from("w"), lease_id });
assert.equal((await ask("KvService.Get", { key: k })).kv.value.toString(), "w");
assert.equal((await ask("KvService.Range", { range: { prefix: k } })).kvs.length, 1);
const { txn } = await write("KvService.Txn", {
  txn: {
    compares: [{ key: k, comparison: "COMPARISON_EQUAL", value: Buffer.from("w") }, { fence: { agent_id: "a", fence } }],
    success: [{ put: { key: Buffer.from("k2"), value: k } }, { get: { key: k } }],
  },
});
assert(txn.succeeded);
assert((await exchange("LeaseService.KeepAlive", { lease_id })).held);
assert.equal((await ask("LeaseService.TimeToLive", { lease_id })).lease.lease_id, lease_id);
assert.equal((await ask("LeaseService.ListLeases")).leases.length, 1);
const { results } = await exchange("ReadService.Read", {
  first_nonce: 7,
  queries: [{ get: { key: k } }, { get_agent: { agent_id: "nobody" } }],
});
assert(results.every((one) => (one.nonce === "7" ? one.get.kv.value.toString() === "w" : one.error.length)));
const [seen] = await read(
  "WatchService.Watch",
  { selector: { types: ["RESOURCE_TYPE_KEY"] }, start: "WATCH_START_SNAPSHOT" },
  1,
);
assert.deepEqual(seen.changes.map((one) => one.type), ["RESOURCE_TYPE_KEY", "RESOURCE_TYPE_KEY"]);
assert.equal((await write("LeaseService.Revoke", { lease_id })).header.cluster_id, put.header.cluster_id);
await write("KvService.Delete", { key: Buffer.from("k2") });
await write("KvService.DeleteRange", { range: { prefix: k } });
await write("KvService.Compact", { revision: put.header.revision });
await refused("KvService.Get", { key: k, consistency: "CONSISTENCY_AT_REVISION", revision: 1 }, grpc.status.OUT_OF_RANGE);

// --- the cluster ---

assert.equal((await ask("ClusterService.Status")).role, "ROLE_LEADER");
assert((await ask("ClusterService.GetLimits")).limits.length > 10);
await ask("ClusterService.AddMember", {
  member_id: "learner",
  raft_address: "127.0.0.1:1",
  client_address: "127.0.0.1:2",
});
assert.equal((await ask("ClusterService.ListMembers")).members.length, 4);
await refused("ClusterService.PromoteMember", { member_id: "learner" }, grpc.status.FAILED_PRECONDITION);
await ask("ClusterService.RemoveMember", { member_id: "learner" });
await ask("ClusterService.TransferLeadership", { to_member_id: follower });

alive.on("error", () => {}).cancel();
for (const client of clients.values()) client.close();
console.log(JSON.stringify({ calls: [...new Set(made)], made: made.length }));
