import {Component, onWillStart, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {useService} from "@web/core/utils/hooks";

/**
 * The way to the first message: connect a homeserver, link a room, send.
 *
 * It is gone an hour after a message was sent.
 */
export class MatrixSetup extends Component {
    static template = "mail_matrix.Setup";
    static props = {};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({steps: false});
        onWillStart(() => this.read());
    }

    async read() {
        this.state.steps = await this.orm.call("matrix.backend", "get_matrix_setup", []);
    }

    get progress() {
        const {steps} = this.state;
        const done = steps.filter((step) => step.done).length;
        return _t("%(done)s of %(all)s steps done", {done, all: steps.length});
    }

    get titles() {
        return {
            connect: _t("Set up the account that sends for Odoo"),
            room: _t("Choose the record whose room you want to link"),
            message: _t("Open the record whose room you linked"),
        };
    }

    /** The step that is to be done now, if any. */
    get next() {
        return this.state.steps.find((step) => !step.done)?.key;
    }

    open(step) {
        return this.action.doAction(step.action, {
            additionalContext: {matrix_setup: true},
            onClose: () => this.read(),
        });
    }
}
