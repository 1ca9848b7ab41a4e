import {Component, onWillDestroy, useState} from "@odoo/owl";
import {_t} from "@web/core/l10n/translation";
import {deserializeDateTime} from "@web/core/l10n/dates";
import {formatDateTime} from "@web/views/fields/formatters";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";
import {useRecordObserver} from "@web/model/relational_model/utils";
import {useBus, useService} from "@web/core/utils/hooks";

const FINAL = ["ok", "failed", "not_posted", "discarded", "unreadable", "read_later"];
const FIRST_PAUSE = 1000;
const GIVE_UP_AFTER = 120000;

/**
 * The last messages of a record: what waits, what was sent, what failed.
 *
 * While something waits they are read again after 1, 2, 4, 8 … seconds, for two minutes
 * at most; then a person may ask again.
 */
export class MatrixDeliveries extends Component {
    static template = "mail_matrix.Deliveries";
    static props = {...standardWidgetProps};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({rows: null, troubles: [], stopped: false});
        // Each save may have queued a message. The form does not wait for the answer.
        useRecordObserver((record) => {
            this.observed = [record.resId, record.data.write_date];
            this.restart();
        });
        useBus(this.env.bus, "MATRIX-POSTED", () => this.restart());
        onWillDestroy(() => this.stop());
    }

    stop() {
        clearTimeout(this.timer);
        // The answer to an earlier request is out of date.
        this.asked = null;
    }

    restart() {
        this.stop();
        this.pause = FIRST_PAUSE;
        this.waited = 0;
        this.state.stopped = false;
        return this.read();
    }

    async read() {
        const {resId, resModel} = this.props.record;
        if (!resId) {
            this.state.rows = [];
            this.state.troubles = [];
            return;
        }
        const asked = (this.asked = {});
        let found = {};
        try {
            found = await this.orm.silent.call(resModel, "get_matrix_deliveries", [[resId]]);
        } catch (error) {
            if (this.asked !== asked) {
                return;
            }
            this.state.stopped = true;
            if (this.waited) {
                // Nobody asked for this refresh: ignore it if the person is offline for
                // a moment.
                return;
            }
            throw error;
        }
        if (this.asked !== asked) {
            return;
        }
        Object.assign(this.state, found);
        // The number on the record's button.
        this.env.bus.trigger("MATRIX-MESSAGES", {resId, resModel, count: found.count});
        this.showNewRoom(found);
        const waits =
            found.awaits_room || found.rows.some((row) => !FINAL.includes(row.outcome));
        this.state.stopped = waits && this.waited >= GIVE_UP_AFTER;
        if (waits && !this.state.stopped) {
            this.timer = setTimeout(() => this.read(), this.pause);
            this.waited += this.pause;
            this.pause *= 2;
        }
    }

    /**
     * The room of a record is created in the background: while its form is open, or
     * before somebody turns to the page that this is on. What is typed is kept.
     */
    async showNewRoom({now = {}}) {
        const {record} = this.props;
        const isOld = Object.entries(now).some(
            ([name, value]) => name in record.data && (record.data[name] || false) !== value
        );
        // Once: whatever the form makes of it, it is not read again and again.
        const wanted = JSON.stringify([record.resId, now]);
        if (isOld && this.loaded !== wanted && !(await record.isDirty())) {
            this.loaded = wanted;
            await record.load();
        }
    }

    /** Odoo does not translate this attribute in a template. */
    get label() {
        return _t("Last messages");
    }

    /** As the lists show it: Odoo 19 leaves out this year. */
    formatDate(date) {
        return formatDateTime(deserializeDateTime(date), {showSeconds: false});
    }

    badge(outcome) {
        const colors = {
            ok: "success",
            failed: "danger",
            not_posted: "secondary",
            discarded: "secondary",
            read_later: "secondary",
        };
        // White on these colours is too pale to be read by everybody.
        const color = colors[outcome] || "warning";
        return `bg-${color}-subtle text-${color}-emphasis`;
    }

    noteColor(outcome) {
        const colors = {failed: "text-danger-emphasis", ok: "text-warning-emphasis"};
        return colors[outcome] || "text-body-secondary";
    }

    async retry(row) {
        const {resId, resModel} = this.props.record;
        await this.orm.call(resModel, "action_matrix_retry", [[resId], row.log_id]);
        await this.restart();
    }

    open(row) {
        if (row.log_id) {
            this.action.doAction({
                type: "ir.actions.act_window",
                res_model: "matrix.log",
                res_id: row.log_id,
                views: [[false, "form"]],
            });
        }
    }
}

export const matrixDeliveries = {
    component: MatrixDeliveries,
    fieldDependencies: [{name: "write_date", type: "datetime"}],
};

registry.category("view_widgets").add("matrix_deliveries", matrixDeliveries);
