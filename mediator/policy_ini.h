/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One policy file: sections and keys into a struct med_policy, each value checked by itself. Rules
 * that need the whole are in policy.c. Main thread.
 */
#pragma once

#include "mediator/policy.h"

/*
 * Adds what @path holds to @p. 0 (errors of the file are in @errs), or -ENOMEM. @path becomes owned
 * text of @p.
 */
int med_policy_read_file(struct med_policy *p, const char *path, struct cf_errors *errs);
/* As if @o stood last in its section. 0 or -ENOMEM; what is wrong with it goes to @errs. */
int med_policy_override(struct med_policy *p, const struct med_override *o, struct cf_errors *errs);
