/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of hostctl: each makes a request, waits for its answer, and has it shown. Main
 * thread. The table below is also the help.
 */
#include "hostctl/verbs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hostctl/doctor.h"
#include "hostctl/show.h"
#include "hostctl/top.h"
#include "lib/cferr.h"

#define ANSWER_NS (10 * Q_NSEC_PER_SEC)		/* of requests that hostd answers by itself */
#define SLACK_NS (2 * Q_NSEC_PER_SEC)		/* hostd's own deadline comes first */
#define CHECK_NS (600 * Q_NSEC_PER_SEC)		/* 10 s a program at most */
#define LONG_NS (2 * 3600 * Q_NSEC_PER_SEC)	/* above every timeout that hostd takes */

static uint64_t wait_ns(const struct hc_opts *o, uint64_t otherwise_ns)
{
	return o->timeout_given ? o->timeout_ms * Q_NSEC_PER_MSEC + SLACK_NS : otherwise_ns;
}

/* ---- one VM ---- */

static enum hc_exit ask_vm(struct hc *hc, const struct hc_opts *o, Parley__VmRequest__Verb verb,
			   const char *name, uint64_t timeout_ns, Parley__Envelope **ret)
{
	bool check = verb == PARLEY__VM_REQUEST__VERB__CHECK;
	Parley__VmRequest req = PARLEY__VM_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	req.verb = verb;
	req.name = (char *)name;
	req.timeout_ms = (uint32_t)o->timeout_ms;
	req.no_wait = o->no_wait;
	e.body_case = PARLEY__ENVELOPE__BODY_VM_REQUEST;
	e.vm_request = &req;
	return hc_ask(hc, &e, check ? PARLEY__ENVELOPE__BODY_CHECK_REPLY :
				      PARLEY__ENVELOPE__BODY_VM_INFO, timeout_ns, ret, NULL);
}

/* For each name; the first failure is the one that counts. */
static enum hc_exit each_vm(struct hc *hc, const struct hc_opts *o, Parley__VmRequest__Verb verb,
			    uint64_t timeout_ns, int argc, char **argv)
{
	enum hc_exit all = HC_OK;

	for (int i = 0; i < argc && all != HC_NO_HOSTD && all != HC_TIMEOUT; i++) {
		Parley__Envelope *e = NULL;
		enum hc_exit r = ask_vm(hc, o, verb, argv[i], timeout_ns, &e);

		if (r == HC_OK)
			r = verb == PARLEY__VM_REQUEST__VERB__STATUS ?
				    hc_show_vm(hc, e->vm_info) :
				    hc_show_vm_line(hc, e->vm_info);
		qp_msg_free(e);
		all = all == HC_OK ? r : all;
	}
	return all;
}

static enum hc_exit verb_status(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__STATUS, wait_ns(o, ANSWER_NS), argc, argv);
}

static enum hc_exit verb_start(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__START, wait_ns(o, LONG_NS), argc, argv);
}

static enum hc_exit verb_stop(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	/* The timeout is the guest's; the force that follows it has hostd's own. */
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__STOP, LONG_NS, argc, argv);
}

static enum hc_exit verb_kill(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__KILL, LONG_NS, argc, argv);
}

static enum hc_exit verb_reboot(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__REBOOT, LONG_NS, argc, argv);
}

static enum hc_exit verb_pause(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__PAUSE, wait_ns(o, ANSWER_NS), argc, argv);
}

static enum hc_exit verb_resume(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__RESUME, wait_ns(o, ANSWER_NS), argc, argv);
}

static enum hc_exit verb_dump(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return each_vm(hc, o, PARLEY__VM_REQUEST__VERB__DUMP, wait_ns(o, ANSWER_NS), argc, argv);
}

static enum hc_exit verb_check(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__Envelope *e = NULL;
	enum hc_exit r = ask_vm(hc, o, PARLEY__VM_REQUEST__VERB__CHECK, argc ? argv[0] : "",
				wait_ns(o, CHECK_NS), &e);

	if (r == HC_OK)
		r = hc_show_check(hc, e->check_reply);
	qp_msg_free(e);
	return r;
}

static enum hc_exit verb_plan(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__VmRequest req = PARLEY__VM_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	req.verb = PARLEY__VM_REQUEST__VERB__PLAN;
	req.name = argv[0];
	req.json = hc->json;
	e.body_case = PARLEY__ENVELOPE__BODY_VM_REQUEST;
	e.vm_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_PLAN_REPLY, wait_ns(o, CHECK_NS),
				&reply, NULL);
	/* As qvm prints it: JSON has a schema of its own. */
	for (size_t i = 0; r == HC_OK && i < reply->plan_reply->n_text; i++)
		fputs(reply->plan_reply->text[i], stdout);
	qp_msg_free(reply);
	return r;
}

static enum hc_exit verb_console(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_console(hc, o, argv[0]);
}

/* ---- the host ---- */

static enum hc_exit verb_list(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__ListRequest req = PARLEY__LIST_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	e.body_case = PARLEY__ENVELOPE__BODY_LIST_REQUEST;
	e.list_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_LIST_REPLY, wait_ns(o, ANSWER_NS),
				&reply, NULL);
	if (r == HC_OK)
		r = hc_show_list(hc, reply->list_reply);
	qp_msg_free(reply);
	return r;
}

static enum hc_exit stats_once(struct hc *hc, const struct hc_opts *o, const char *name)
{
	Parley__StatsRequest req = PARLEY__STATS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	req.name = (char *)name;
	req.reset_worst = o->reset_worst;
	e.body_case = PARLEY__ENVELOPE__BODY_STATS_REQUEST;
	e.stats_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_STATS_REPLY, wait_ns(o, ANSWER_NS),
				&reply, NULL);
	if (r == HC_OK && o->watch_ms && !hc->json && isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	if (r == HC_OK)
		r = hc_show_stats(hc, reply->stats_reply, name);
	qp_msg_free(reply);
	fflush(stdout);
	return r;
}

static enum hc_exit verb_stats(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	const struct timespec pause = {
		.tv_sec = (time_t)(o->watch_ms / 1000),
		.tv_nsec = (long)(o->watch_ms % 1000) * 1000000,
	};
	enum hc_exit r;

	/* Until Ctrl-C, or until nobody reads it any more. */
	do
		r = stats_once(hc, o, argc ? argv[0] : "");
	while (r == HC_OK && o->watch_ms && !ferror(stdout) && nanosleep(&pause, NULL) == 0);
	return r;
}

static enum hc_exit verb_priorities(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__SetPriorities set = PARLEY__SET_PRIORITIES__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;
	bool on = strcmp(argv[0], "on") == 0;

	if (!on && strcmp(argv[0], "off") != 0)
		return hc_fail(hc, HC_USAGE, "priorities are 'on' or 'off', not '%s'", argv[0]);
	set.on = on;
	set.device = (char *)o->device;
	e.body_case = PARLEY__ENVELOPE__BODY_SET_PRIORITIES;
	e.set_priorities = &set;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_DONE, wait_ns(o, ANSWER_NS), &reply,
				NULL);
	qp_msg_free(reply);
	if (r == HC_OK && hc->json)
		return hc_show_done(hc);
	if (r == HC_OK)
		printf("priorities between classes are %s%s%s\n",
		       on ? "on" : "OFF: no share is protected from another",
		       *o->device ? " on device " : "", o->device);
	return r;
}

static const struct {
	const char *word;
	Parley__PolicyRequest__Verb verb;
	int args_min, args_max;
	const char *expected;
} policy_words[] = {
	{ "show", PARLEY__POLICY_REQUEST__VERB__SHOW, 0, 0, "no argument" },
	{ "check", PARLEY__POLICY_REQUEST__VERB__CHECK, 0, 0, "no argument" },
	{ "reload", PARLEY__POLICY_REQUEST__VERB__RELOAD, 0, 0, "no argument" },
	{ "set", PARLEY__POLICY_REQUEST__VERB__SET, 2, 64, "OBJECT KEY=VALUE..." },
	{ "unquarantine", PARLEY__POLICY_REQUEST__VERB__UNQUARANTINE, 1, 1, "SYSTEM/NAME" },
};

static enum hc_exit ask_policy(struct hc *hc, const struct hc_opts *o, Parley__PolicyRequest *req)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	e.body_case = PARLEY__ENVELOPE__BODY_POLICY_REQUEST;
	e.policy_request = req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_POLICY_REPLY, wait_ns(o, ANSWER_NS),
				&reply, NULL);
	if (r == HC_OK)
		r = hc_show_policy(hc, reply->policy_reply);
	qp_msg_free(reply);
	return r;
}

static enum hc_exit verb_policy(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__PolicyRequest req = PARLEY__POLICY_REQUEST__INIT;
	int n = argc - 1;

	for (size_t i = 0; i < Q_ARRAY_LEN(policy_words); i++) {
		if (strcmp(argv[0], policy_words[i].word) != 0)
			continue;
		if (n < policy_words[i].args_min || n > policy_words[i].args_max)
			return hc_fail(hc, HC_USAGE, "policy %s: expected %s", argv[0],
				       policy_words[i].expected);
		req.verb = policy_words[i].verb;
		if (n > 0) {
			req.object = argv[1];
			req.settings = argv + 2;
			req.n_settings = (size_t)n - 1;
		}
		return ask_policy(hc, o, &req);
	}
	return hc_fail(hc, HC_USAGE, "policy: expected show, check, reload, set or unquarantine, "
		       "not '%.64s'", argv[0]);
}

static enum hc_exit set_voice(struct hc *hc, const struct hc_opts *o, char *voice, char *setting)
{
	Parley__PolicyRequest req = PARLEY__POLICY_REQUEST__INIT;

	req.verb = PARLEY__POLICY_REQUEST__VERB__SET;
	req.object = voice;
	req.settings = &setting;
	req.n_settings = 1;
	return ask_policy(hc, o, &req);
}

static enum hc_exit verb_volume(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	char setting[32], *end;
	long db = strtol(argv[1], &end, 10);

	if (end == argv[1] || (*end && strcmp(end, "dB") != 0) || db > 0 || db < -96)
		return hc_fail(hc, HC_USAGE, "volume: expected dB from -96 to 0, not '%.64s'",
			       argv[1]);
	snprintf(setting, sizeof(setting), "attenuation=%ld", -db);
	return set_voice(hc, o, argv[0], setting);
}

static enum hc_exit verb_mute(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	static char yes[] = "muted=yes", no[] = "muted=no";
	const char *word = argc > 1 ? argv[1] : "on";

	if (strcmp(word, "on") != 0 && strcmp(word, "off") != 0)
		return hc_fail(hc, HC_USAGE, "mute: expected on or off, not '%.64s'", word);
	return set_voice(hc, o, argv[0], strcmp(word, "on") == 0 ? yes : no);
}

static enum hc_exit verb_inject(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_inject(hc, wait_ns(o, ANSWER_NS), argc, argv);
}

static enum hc_exit verb_explain(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__ExplainRequest req = PARLEY__EXPLAIN_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	req.share = argv[0];
	e.body_case = PARLEY__ENVELOPE__BODY_EXPLAIN_REQUEST;
	e.explain_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_EXPLAIN_REPLY, wait_ns(o, ANSWER_NS),
				&reply, NULL);
	if (r == HC_OK)
		r = hc_show_explain(hc, argv[0], reply->explain_reply);
	qp_msg_free(reply);
	return r;
}

static enum hc_exit verb_events(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_events(hc, o, wait_ns(o, ANSWER_NS));
}

static enum hc_exit verb_version(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	Parley__VersionRequest req = PARLEY__VERSION_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	e.body_case = PARLEY__ENVELOPE__BODY_VERSION_REQUEST;
	e.version_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_VERSION_REPLY,
				wait_ns(o, ANSWER_NS), &reply, NULL);
	if (r == HC_OK)
		r = hc_show_version(hc, reply->version_reply);
	qp_msg_free(reply);
	return r;
}

static enum hc_exit verb_top(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_top(hc, o, wait_ns(o, ANSWER_NS));
}

static enum hc_exit verb_logs(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_logs(hc, o, wait_ns(o, ANSWER_NS), argc ? argv[0] : "");
}

static enum hc_exit verb_doctor(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	return hc_doctor(hc);
}

static enum hc_exit verb_help(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	const struct hc_verb *v = argc ? hc_verb_find(hc, argv[0]) : NULL;

	if (argc && !v)
		return HC_USAGE;
	if (v)
		printf("usage: hostctl %s %s\n%s.\n", v->name, v->args, v->text);
	else
		hc_usage(stdout);
	return HC_OK;
}

const struct hc_verb hc_verbs[] = {
	{ "list", "", "All VMs and the mediator, what they do and why", 0, 0, verb_list },
	{ "status", "NAME...", "One VM, with the last lines of its log", 1, 256, verb_status },
	{ "start", "[--no-wait] [--timeout S] NAME...",
	  "Start a VM; done when its guest runs", 1, 256, verb_start },
	{ "stop", "[--no-wait] [--timeout S] NAME...",
	  "Press the power button; after the timeout its power is cut", 1, 256, verb_stop },
	{ "kill", "[--no-wait] NAME...", "Cut the power of a VM at once", 1, 256, verb_kill },
	{ "reboot", "[--no-wait] [--timeout S] NAME...",
	  "Stop a VM as 'stop' does, and start it again", 1, 256, verb_reboot },
	{ "pause", "NAME...", "Hold the guest of a VM still", 1, 256, verb_pause },
	{ "resume", "NAME...", "Let a guest go on that was paused", 1, 256, verb_resume },
	{ "dump", "NAME...", "Write a core of the guest, where its configuration says", 1, 256,
	  verb_dump },
	{ "console", "[--no-input] [--no-replay] [--log] NAME",
	  "The console of a VM; Ctrl-] leaves it", 1, 1, verb_console },
	{ "stats", "[--watch S] [--reset-worst] [NAME]",
	  "Latencies beside their bounds, devices, counters", 0, 1, verb_stats },
	{ "priorities", "on|off [--device NAME]",
	  "Switch the order of classes, to see what it does", 1, 1, verb_priorities },
	{ "policy", "show|check|reload | set OBJECT KEY=VALUE... | unquarantine SYSTEM/NAME",
	  "The mediator's policy: in force, beside its files, changed while it runs", 1, 66,
	  verb_policy },
	{ "volume", "SYSTEM/NAME DB",
	  "How loud a voice is, from -96 to 0 dB, within its policy's limit", 2, 2, verb_volume },
	{ "mute", "SYSTEM/NAME [on|off]", "Silence a voice, or let it be heard again", 1, 2,
	  verb_mute },
	{ "explain", "SYSTEM/NAME",
	  "The slowest requests of a safety share, and what stood in their way", 1, 1,
	  verb_explain },
	{ "inject", "KIND [OBJECT] [KEY=VALUE...] | kill NAME [signal=S] | list | clear [N]",
	  "Make something fail on purpose, if hostd.conf allows it", 1, 66, verb_inject },
	{ "check", "[NAME]", "Are configurations and policies right? Starts nothing", 0, 1,
	  verb_check },
	{ "plan", "NAME", "What a VM would be: memory, devices, interrupts, and what was chosen",
	  1, 1, verb_plan },
	{ "events", "[--follow] [--since TIME] [--until TIME] [--boot BOOT]", "What happened",
	  0, 0, verb_events },
	{ "logs", "[--follow] [--since TIME] [--no-console] [NAME]",
	  "What VMs and their programs wrote", 0, 1, verb_logs },
	{ "top", "[--once] [--watch S]",
	  "VMs, latencies beside their bounds and levels, live; q ends it", 0, 0, verb_top },
	{ "doctor", "", "Looks at the board: what VMs can be had on it, and what to change", 0, 0,
	  verb_doctor, true },
	{ "version", "", "Of hostctl and of the hostd that runs", 0, 0, verb_version },
	{ "help", "[VERB]", "This text, or one verb", 0, 1, verb_help, true },
};
const size_t hc_n_verbs = Q_ARRAY_LEN(hc_verbs);

void hc_usage(FILE *to)
{
	fputs("usage: hostctl [options] VERB [arguments]\n\n", to);
	for (size_t i = 0; i < hc_n_verbs; i++)
		fprintf(to, "  %s%s%s\n        %s\n", hc_verbs[i].name,
			*hc_verbs[i].args ? " " : "", hc_verbs[i].args, hc_verbs[i].text);
	fputs("\n"
	      "  -H, --host HOST   the same on [USER@]HOST, by ssh\n"
	      "  --json            the answer as JSON; the first member is \"schema\"\n"
	      "  --run-dir DIR     hostd's (default $PARLEY_RUN_DIR or /run/parley)\n"
	      "  --socket PATH     hostd's socket (default DIR/hostd.sock)\n"
	      "  --timeout S       how long to wait, in seconds; for stop: until force is used\n"
	      "  --help, --version\n"
	      "\n"
	      "Exit status: 0 done, 1 failed, 2 usage, 3 no such VM, 4 already so, 5 denied,\n"
	      "6 timeout, 7 hostd is not there, 8 configuration refused, 9 not running.\n"
	      "See hostctl(1).\n",
	      to);
}

const struct hc_verb *hc_verb_find(const struct hc *hc, const char *name)
{
	const char *names[Q_ARRAY_LEN(hc_verbs)];

	for (size_t i = 0; i < hc_n_verbs; i++) {
		if (strcmp(hc_verbs[i].name, name) == 0)
			return &hc_verbs[i];
		names[i] = hc_verbs[i].name;
	}
	const char *near = cf_nearest(name, names, hc_n_verbs);
	if (near)
		hc_fail(hc, HC_USAGE, "there is no verb '%.64s'; did you mean '%s'?", name, near);
	else
		hc_fail(hc, HC_USAGE, "there is no verb '%.64s'; see 'hostctl help'", name);
	return NULL;
}
