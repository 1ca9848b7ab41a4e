import {Component, onWillStart, onWillUnmount, onWillUpdateProps, useState} from "@odoo/owl";
import {deserializeDateTime, formatDateTime} from "@web/core/l10n/dates";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";
import {useService} from "@web/core/utils/hooks";

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
        this.state = useState({rows: [], stopped: false});
        onWillStart(() => this.restart(this.props.record));
        // The form reads its record again after each button: something may wait since.
        onWillUpdateProps((next) => this.restart(next.record));
        onWillUnmount(() => clearTimeout(this.timer));
    }

    restart(record) {
        this.pause = FIRST_PAUSE;
        this.waited = 0;
        return this.read(record);
    }

    async read(record) {
        clearTimeout(this.timer);
        if (!record.resId) {
            this.state.rows = [];
            return;
        }
        const rows = await this.orm.silent.call(
            record.resModel,
            "get_matrix_deliveries",
            [[record.resId]]
        );
        clearTimeout(this.timer);
        this.state.rows = rows;
        const waits = rows.some((row) => row.outcome !== "ok" && row.outcome !== "failed");
        this.state.stopped = waits && this.waited >= GIVE_UP_AFTER;
        if (waits && !this.state.stopped) {
            this.timer = setTimeout(() => this.read(record), this.pause);
            this.waited += this.pause;
            this.pause *= 2;
        }
    }

    formatDate(date) {
        return formatDateTime(deserializeDateTime(date));
    }

    badge(outcome) {
        const classes = {
            ok: "text-bg-success",
            failed: "text-bg-danger",
            held: "text-bg-warning",
        };
        return classes[outcome] || "text-bg-info";
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

export const matrixDeliveries = {component: MatrixDeliveries};

registry.category("view_widgets").add("matrix_deliveries", matrixDeliveries);
