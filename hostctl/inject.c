/* SPDX-License-Identifier: Apache-2.0 */
/* The verb that makes things fail: its words, and what is injected now. Main thread. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "hostctl/show.h"
#include "lib/qtable.h"
#include "hostctl/verbs.h"

#define SCHEMA 1

static enum hc_exit print_json(const struct hc *hc, const Parley__InjectReply *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_injections; i++) {
		const Parley__Injection *in = m->injections[i];

		json_array_append_new(list, json_pack(
			"{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}",
			"id", (json_int_t)in->id, "kind", in->kind, "device", in->device,
			"share", in->share, "ops", in->ops,
			"count_left", (json_int_t)in->count_left,
			"left_ns", (json_int_t)in->left_ns,
			"delay_ns", (json_int_t)in->delay_ns, "hits", (json_int_t)in->hits));
	}
	return hc_print_json(hc, json_pack("{s:i, s:o}", "schema", SCHEMA, "injections", list));
}

static void add_row(struct qtable *t, const Parley__Injection *in)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%" PRIu32, in->id);
	qtable_add(t, "%s", in->kind);
	qtable_add(t, "%s", in->device);
	qtable_add(t, "%s", *in->share ? in->share : "all");
	qtable_add(t, "%s", in->ops);
	qtable_add(t, "%s", qtable_ns(buf, in->left_ns));
	if (in->count_left)
		qtable_add(t, "%" PRIu32, in->count_left);
	else
		qtable_add(t, "-");
	qtable_add(t, "%s", qtable_ns(buf, in->delay_ns));
	qtable_add(t, "%" PRIu64, in->hits);
}

static enum hc_exit show(const struct hc *hc, const Parley__InjectReply *m)
{
	static const char *const heads[] = {
		">N", "KIND", "DEVICE", "SHARE", "OPS", ">ENDS IN", ">COUNT", ">DELAY", ">HITS",
	};
	struct qtable t;

	if (hc->json)
		return print_json(hc, m);
	if (m->n_injections == 0) {
		puts("nothing is injected");
		return HC_OK;
	}
	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_injections; i++)
		add_row(&t, m->injections[i]);
	qtable_print(&t, stdout);
	qtable_fini(&t);
	return HC_OK;
}

static const struct {
	const char *word;
	Parley__InjectRequest__Verb verb;
	int args_min, args_max;
	const char *expected;
} words[] = {
	{ "list", PARLEY__INJECT_REQUEST__VERB__LIST, 0, 0, "no argument" },
	{ "clear", PARLEY__INJECT_REQUEST__VERB__CLEAR, 0, 1, "the number of one, or nothing" },
	{ "kill", PARLEY__INJECT_REQUEST__VERB__KILL, 1, 2, "mediator or a VM, and [signal=NAME]" },
};

/* Settings hold a '='; the object does not. */
static void take_arguments(Parley__InjectRequest *req, int argc, char **argv)
{
	if (argc > 0 && !strchr(argv[0], '=')) {
		req->object = argv[0];
		argc--;
		argv++;
	}
	req->settings = argv;
	req->n_settings = (size_t)argc;
}

static enum hc_exit ask(struct hc *hc, uint64_t timeout_ns, Parley__InjectRequest *req)
{
	bool kill = req->verb == PARLEY__INJECT_REQUEST__VERB__KILL;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	e.body_case = PARLEY__ENVELOPE__BODY_INJECT_REQUEST;
	e.inject_request = req;
	enum hc_exit r = hc_ask(hc, &e, kill ? PARLEY__ENVELOPE__BODY_DONE :
					       PARLEY__ENVELOPE__BODY_INJECT_REPLY,
				timeout_ns, &reply, NULL);
	if (r == HC_OK && !kill)
		r = show(hc, reply->inject_reply);
	else if (r == HC_OK && hc->json)
		r = hc_show_done(hc);
	qp_msg_free(reply);
	return r;
}

enum hc_exit hc_inject(struct hc *hc, uint64_t timeout_ns, int argc, char **argv)
{
	Parley__InjectRequest req = PARLEY__INJECT_REQUEST__INIT;
	int n = argc - 1;

	req.verb = PARLEY__INJECT_REQUEST__VERB__ADD;
	for (size_t i = 0; i < Q_ARRAY_LEN(words); i++) {
		if (strcmp(argv[0], words[i].word) != 0)
			continue;
		if (n < words[i].args_min || n > words[i].args_max)
			return hc_fail(hc, HC_USAGE, "inject %s: expected %s", argv[0],
				       words[i].expected);
		req.verb = words[i].verb;
	}
	if (req.verb == PARLEY__INJECT_REQUEST__VERB__ADD)
		req.kind = argv[0];
	take_arguments(&req, n, argv + 1);
	return ask(hc, timeout_ns, &req);
}
