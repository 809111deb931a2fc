/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/whole.h over hostd/plan.h: VMs as rows, and what stands against each. */
#include "hostd/whole.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fixture.h"

#define SAFETY PARLEY__CLASS__CLASS_SAFETY
#define NORMAL PARLEY__CLASS__CLASS_NORMAL
#define BEST PARLEY__CLASS__CLASS_BEST_EFFORT
#define VMS_MAX 4

#define PLAN(system, rest) "{\"schema\": 1, \"system\": \"" system "\"" rest "}"
#define MEM(gb) ", \"memory\": [{\"bytes\": " #gb "000000000}]"
#define SOUND ", \"vdevs\": [{\"name\": \"s\", \"type\": \"virtio-snd\", " \
	      "\"model\": \"exclusive\", \"backing\": \"alsa:hw:0\"}]"
#define VOICE(name) ", \"vdevs\": [{\"name\": \"s\", \"type\": \"virtio-snd\", " \
		    "\"model\": \"mediated\", \"backing\": \"" name "\"}]"
#define NET(peer) ", \"vdevs\": [{\"name\": \"n\", \"type\": \"virtio-net\", " \
		  "\"model\": \"peer\", \"backing\": \"" peer "\"}]"
#define SHM(option, value) ", \"vdevs\": [{\"name\": \"m\", \"type\": \"shmem\", " \
			   "\"model\": \"shared\", \"backing\": null, \"options\": [{\"option\": " \
			   "\"" option "\", \"value\": \"" value "\"}]}]"
#define HALF_CPU ", \"cpus\": [{\"period_ns\": 100, \"budget_ns\": 50, \"runmask\": []}]"
#define ON_CPU(n) ", \"cpus\": [{\"runmask\": [" #n "]}]"

struct row {
	struct {
		const char *plan;
		Parley__Class class;
		bool runs, comes;
		const char *error, *warning;	/* a part of its text; NULL: there is none */
	} v[VMS_MAX];
	const char *policy;	/* NULL: not known */
};

static const struct row rows[] = {
	/* Memory: who runs, who comes by class, then each by itself. The board has 4 GB. */
	{ { { PLAN("a", MEM(3)), BEST, true }, { PLAN("b", MEM(2)), SAFETY, false, true,
	    "1907 MiB" }, { PLAN("c", MEM(1)), NORMAL, false, true } } },
	{ { { PLAN("a", MEM(3)), BEST, false, true, "2861 MiB" },
	    { PLAN("b", MEM(2)), SAFETY, false, true },
	    { PLAN("c", MEM(1)), NORMAL, false, true } } },
	{ { { PLAN("a", MEM(3)), NORMAL, .warning = "would have 1907 MiB" },
	    { PLAN("b", MEM(2)), NORMAL, false, true } } },
	{ { { PLAN("a", MEM(9)), SAFETY, .error = "more than the board has" } } },
	/* Reserved processors: 0.95 of one. */
	{ { { PLAN("a", HALF_CPU), NORMAL, false, true, "0.50 CPUs" },
	    { PLAN("b", HALF_CPU), SAFETY, false, true } } },
	{ { { PLAN("a", ON_CPU(1)), NORMAL, .error = "does not have" },
	    { PLAN("b", ON_CPU(0)), NORMAL } } },
	/* Sound. */
	{ { { PLAN("a", SOUND), NORMAL, .error = "VM 1 has it" }, { PLAN("b", SOUND), SAFETY } } },
	{ { { PLAN("a", SOUND), SAFETY, .error = "the mediator has it" } },
	  "[sound out]\nalsa = hw:0\n" },
	{ { { PLAN("a", VOICE("v")), NORMAL }, { PLAN("b", VOICE("w")), NORMAL,
	    .error = "[voice b/w]; did you mean 'b/v'?" } },
	  "[voice a/v]\nclass = safety\n[voice b/v]\nclass = safety\n"
	  "[share b/w]\nclass = safety\n" },
	{ { { PLAN("a", VOICE("v")), NORMAL } } },
	/* Peers. */
	{ { { PLAN("a", NET("b/n")), SAFETY, .warning = "lower class" },
	    { PLAN("b", NET("/dev/qvm/a/n")), NORMAL } } },
	{ { { PLAN("a", NET("b/n")), NORMAL }, { PLAN("b", NET("a/n")), NORMAL } } },
	{ { { PLAN("a", NET("b/x")), NORMAL, .error = "no network interface of that name" },
	    { PLAN("b", NET("c/n")), NORMAL, .warning = "no VM of this host" } } },
	{ { { PLAN("a", NET("b/n")), NORMAL }, { NULL, BEST } } },
	{ { { PLAN("a", NET("tap:t0")), NORMAL } } },
	/* Shared memory. */
	{ { { PLAN("a", SHM("allow", "map*")), SAFETY, .warning = "only VM 1 makes" },
	    { PLAN("b", SHM("create", "maps,1000")), BEST } } },
	{ { { PLAN("a", SHM("allow", "map*")), SAFETY },
	    { PLAN("b", SHM("create", "maps,1000")), BEST },
	    { PLAN("c", SHM("create", "map,1000")), SAFETY } } },
	/* One name twice: of equals nobody has it, else who runs. */
	{ { { PLAN("a", ""), NORMAL, .error = "VM 1 as well" },
	    { PLAN("a", ""), NORMAL, .error = "VM 0 as well" } } },
	{ { { PLAN("a", ""), SAFETY, .error = "VM 1 as well" }, { PLAN("a", ""), NORMAL, true },
	    { PLAN("b", ""), BEST } } },
};

static char *text_of(const struct cf_errors *errs)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	cf_errors_print(errs, f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void look(const struct row *r, unsigned i, const struct hd_whole_vm *v)
{
	char *text = text_of(&v->errs);
	size_t n_errors = r->v[i].error != NULL, n_warnings = r->v[i].warning != NULL;

	ck_assert_msg(v->errs.n_errors == n_errors && v->errs.n - v->errs.n_errors == n_warnings,
		      "row %ld, VM %u: %s", (long)(r - rows), i, text);
	if (r->v[i].error)
		ck_assert_ptr_nonnull(strstr(text, r->v[i].error));
	if (r->v[i].warning)
		ck_assert_ptr_nonnull(strstr(text, r->v[i].warning));
	free(text);
}

START_TEST(rule)
{
	static const char *const names[] = { "0", "1", "2", "3" };
	const struct hd_board board = {
		.mem_bytes = 4000000000, .cpus = { 1 }, .cpu_ppm = 950000,
	};
	const struct row *r = &rows[_i];
	struct hd_whole_vm v[VMS_MAX] = { 0 };
	struct hd_plan *plans[VMS_MAX] = { NULL }, *mediator = NULL;
	unsigned n = 0;

	for (; n < VMS_MAX && (r->v[n].plan || r->v[n].class != 0); n++) {
		if (r->v[n].plan)
			ck_assert_int_eq(hd_plan_of_vm(r->v[n].plan, "/", &plans[n]), 0);
		v[n] = (struct hd_whole_vm){
			.name = names[n], .class = r->v[n].class, .runs = r->v[n].runs,
			.comes = r->v[n].comes, .plan = plans[n],
		};
	}
	if (r->policy)
		ck_assert_int_eq(hd_plan_of_mediator(r->policy, "/", &mediator), 0);
	hd_whole_check(v, n, mediator, &board);
	for (unsigned i = 0; i < n; i++)
		look(r, i, &v[i]);
	for (unsigned i = 0; i < n; i++) {
		cf_errors_fini(&v[i].errs);
		hd_plan_free(plans[i]);
	}
	hd_plan_free(mediator);
}
END_TEST

START_TEST(no_plan)
{
	struct hd_plan *p = NULL;

	ck_assert_int_eq(hd_plan_of_vm("", "/", &p), -EINVAL);
	ck_assert_int_eq(hd_plan_of_vm("[1]", "/", &p), -EINVAL);
	ck_assert_int_eq(hd_plan_of_vm("{\"schema\": 1}", "/", &p), -EINVAL);
	ck_assert_ptr_null(p);
}
END_TEST

START_TEST(board)
{
	struct hd_board b;

	hd_board_read(&b);
	ck_assert_uint_gt(b.mem_bytes, 1 << 20);
	ck_assert_uint_ne(b.cpus[0] | b.cpus[1] | b.cpus[2] | b.cpus[3], 0);
	ck_assert_uint_gt(b.cpu_ppm, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_whole");
	TCase *tc = fixture_case(s, "whole");

	tcase_add_loop_test(tc, rule, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, no_plan);
	tcase_add_test(tc, board);
	return fixture_main(s);
}
