/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator, or who speaks for one, may say to make a device fail: words, cut at line ends;
 * the first is the kind, the others are its settings. A rule that is made keeps its limits and can
 * be told; one that is not has a reason.
 */
#include <stdlib.h>
#include <string.h>

#include "mediator/inject_rule.h"
#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 40u

static void check_rule(const struct inject_rule *r)
{
	char ops[INJECT_OPS_BYTES];
	unsigned n = 0;

	qassert(r->kind < INJECT_KINDS && inject_kind_str(r->kind)[0]);
	qassert(r->id == 0 && r->share == -1 && !r->spent && r->hits == 0);
	qassert(r->for_ns > 0 && r->until_ns == 0);
	qassert(inject_ops_str(r, ops) == ops && strlen(ops) < sizeof(ops) && ops[0]);
	for (unsigned op = 0; op < 32; op++)
		n += (r->ops >> op & 1) != 0;
	qassert(r->kind == INJECT_REFUSE || n > 0);
	struct inject_rule begun = *r;
	begun.id = 1;
	begun.until_ns = 1000 + r->for_ns;
	for (unsigned op = QBLK_READ; op <= QBLK_WRITE_ZEROES; op++) {
		bool hits = inject_rule_hits(&begun, 0, (enum qblk_op)op, 1000);

		qassert(!hits || r->ops >> op & 1);
		qassert(!inject_rule_hits(&begun, 0, (enum qblk_op)op, begun.until_ns));
		begun.share = 1;
		qassert(!inject_rule_hits(&begun, 0, (enum qblk_op)op, 1000));
		begun.share = -1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *words[WORDS_MAX], *rest = NULL, why[256] = "";
	struct inject_rule r = { 0 };
	size_t n = 0;

	qassert(text);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	char *w = strtok_r(text, "\n", &rest);
	for (; w && n < WORDS_MAX; w = strtok_r(NULL, "\n", &rest))
		words[n++] = w;
	if (n == 0)
		words[n++] = text + strlen(text);
	if (inject_rule_parse(words[0], words + 1, n - 1, &r, why, sizeof(why)))
		check_rule(&r);
	else
		qassert(why[0] && memchr(why, '\0', sizeof(why)));
	free(text);
	return 0;
}
